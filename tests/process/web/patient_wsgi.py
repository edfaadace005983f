"""The front over stand-ins, which waits for a slow client for longer than any test does."""

from __future__ import annotations

from server.web.limits import table
from tests.process.web.fake_wsgi import app

table.LONGEST_WAIT_S = 1000.0

__all__ = ["app"]
