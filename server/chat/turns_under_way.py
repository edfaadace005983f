"""The turns that are being answered, so that one can be cancelled from outside."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from server.chat.turn_in_progress import OpenTurn


class TurnsUnderWay:
    """Thread-safe."""

    def __init__(self) -> None:
        self._turns: set[OpenTurn] = set()
        self._lock = threading.Lock()

    @contextmanager
    def noted(self, turn: OpenTurn) -> Iterator[None]:
        """Keep `turn` for as long as the block runs."""
        with self._lock:
            self._turns.add(turn)
        try:
            yield
        finally:
            with self._lock:
                self._turns.discard(turn)

    def of(self, session_id: str | None, request_id: str | None) -> list[OpenTurn]:
        """Those of a session, or of an HTTP call, whose id is the beginning of its turns' ids."""
        with self._lock:
            turns = list(self._turns)
        return [
            turn
            for turn in turns
            if (session_id is not None and turn.session_id == session_id)
            or (request_id is not None and turn.request.request_id.startswith(f"{request_id}."))
        ]
