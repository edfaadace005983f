"""An endpoint: its file, plan, requests and life."""
