"""/openapi.json: what the routes take and give."""
