"""One module a verb of `python -m deploy`."""
