"""POST /invocations: schema, streams, sticky sessions."""
