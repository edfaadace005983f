"""Fronts that share a database say that they live, so that the claims of one that died are taken over soon.

A live front that is taken for dead, since it was paused or the database could not be reached, loses nothing but the
turn: its claim is gone when it comes to complete it.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from server.chat.store.rows import Row, Rows, RowState, expiry
from server.errors import ServiceError

BEAT_S = 2.0
DEAD_AFTER_S = 10.0
_KEPT_S = 86400.0  # a front that never beat is one of an older version: its claims run out by themselves

log = logging.getLogger(__name__)


def is_dead(rows: Rows, owner: str, now: float) -> bool:
    """Whether the front `owner` has said that it lives, and does no more."""
    found = rows.get(_id(owner), 0)
    return found is not None and found.lock_until <= now


class Heartbeat:
    """One front's. Begin it before the front claims anything."""

    def __init__(self, rows: Rows, owner: str, clock: Callable[[], float], session_lock_s: float) -> None:
        self._rows = rows
        self._owner = owner
        self._clock = clock
        self._kept_s = session_lock_s + _KEPT_S  # longer than any claim of this front
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True, name="heartbeat")

    def begin(self) -> None:
        """Beat at once, then again and again. Raises ServiceError when the first beat cannot be written."""
        self.beat()
        self._thread.start()

    def beat(self) -> None:
        """Live for some seconds more."""
        self._write(DEAD_AFTER_S)

    def end(self) -> None:
        """Live no more; what is still claimed may be taken over at once."""
        self._over.set()
        self._thread.join()
        try:
            self._write(0.0)
        except ServiceError as error:
            log.warning("heartbeat.end_failed error=%s", error.code)

    def _run(self) -> None:
        while not self._over.wait(BEAT_S):
            try:
                self.beat()
            except ServiceError as error:
                log.warning("heartbeat.missed error=%s", error.code)

    def _write(self, for_s: float) -> None:
        now = self._clock()
        self._rows.put(
            Row(
                _id(self._owner), 0, RowState.DONE, now,
                owner=self._owner, lock_until=now + for_s, expires_at=expiry(now, self._kept_s),
            )
        )  # fmt: skip


def _id(owner: str) -> str:
    return f"/fronts/{owner}"  # no owner of conversations has an empty name
