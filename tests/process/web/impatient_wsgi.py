"""The front over stand-ins, which waits for a slow client for a moment only."""

from __future__ import annotations

from server.web.limits import table
from tests.process.web.fake_wsgi import app

table.LONGEST_WAIT_S = 1.0
table.LONGEST_HEAD_S = 1.0

__all__ = ["app"]
