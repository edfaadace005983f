"""The first lines of every prompt of a session; they never change, so their keys and values are reused."""

from __future__ import annotations

from datetime import UTC, datetime


def preamble_lines(session_created_at: float) -> tuple[str, str]:
    """Date and time of the session's start, UTC; `session_created_at` in seconds since the epoch."""
    started = datetime.fromtimestamp(session_created_at, UTC)
    return f"Current Date: {started:%Y-%m-%d}", f"Current Time: {started:%H:%M:%S %p %Z}"
