"""The front over stand-ins, which waits for a slow client for a moment only."""

from __future__ import annotations

from server.web.limits import head_limit, slow_client
from tests.process.web.fake_wsgi import app

slow_client.LONGEST_WAIT_S = 1.0
head_limit.LONGEST_HEAD_S = 1.0

__all__ = ["app"]
