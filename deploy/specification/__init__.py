"""What an endpoint is to be: endpoint.toml, and what follows from it without asking AWS."""
