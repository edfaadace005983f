"""Prints docs/api.md: `python -m server.web.api_page > docs/api.md`."""

from __future__ import annotations

from server.web.app import OPERATIONS
from server.web.describe.api_page import document

if __name__ == "__main__":
    print(document(OPERATIONS), end="")
