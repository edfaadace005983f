"""API keys: who calls, and what each may take."""
