"""Whether the store answers, asked all the time, so that it is known before a turn needs it."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

from server.chat.store.store import Store
from server.errors import ServiceError

log = logging.getLogger(__name__)

_ASK_EVERY_S = 0.5
_LONGEST_ANSWER_S = 1.5
_NOBODY = "ping"  # a session that is nobody's


class StoreWatch:
    """Asks `store` twice a second, in a thread of its own, from `start` on."""

    def __init__(self, store: Store, clock: Callable[[], float] = time.monotonic) -> None:
        self._store = store
        self._clock = clock
        self._asked_at: float | None = None
        self._failed = False

    @property
    def is_failing(self) -> bool:
        """Whether the last question failed, or is not answered in time."""
        asked_at = self._asked_at
        return self._failed or (asked_at is not None and self._clock() - asked_at > _LONGEST_ANSWER_S)

    def start(self) -> None:
        """Ask from now on."""
        threading.Thread(target=self._run, daemon=True, name="store-watch").start()

    def ask(self) -> None:
        """Ask once."""
        self._asked_at, failed = self._clock(), False
        try:
            self._store.load(_NOBODY, 1)
        except ServiceError:
            failed = True
        if failed != self._failed:
            log.warning("store.%s", "failing" if failed else "answers")
        self._failed, self._asked_at = failed, None

    def _run(self) -> None:
        while True:
            self.ask()
            time.sleep(_ASK_EVERY_S)
