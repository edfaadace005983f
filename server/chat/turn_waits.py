"""Waiting on a turn's way: for the store, for verdicts and passages. The client hears that it is waited for."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import CancelledError, Executor, Future
from contextlib import suppress
from typing import Any, TypeVar

from server.chat.records.turn_records import KeepAlive
from server.chat.reply.stream import KEEP_ALIVE_S, deadline_passed, shutting_down
from server.chat.turn_in_progress import OpenTurn

T = TypeVar("T")

_LOOK_EVERY_S = 0.2


class Waits:
    """Waits that end with a turn's deadline, when it is cancelled, and when the server ends before the reply begins."""

    def __init__(self, executor: Executor, ending: threading.Event) -> None:
        self._executor = executor
        self._ending = ending

    def until_done(self, turn: OpenTurn, future: Future[Any]) -> Iterator[KeepAlive]:
        """Keep-alives until `future` is done.

        Raises:
            ServiceError: CANCELLED, SHUTTING_DOWN or DEADLINE; `future` is left to itself then.
        """
        while not self._is_done(future):
            self._go_on(turn)
            yield from _keep_alive(turn)

    def pause(self, turn: OpenTurn, seconds: float) -> Iterator[KeepAlive]:
        """Wait for so long. Raises ServiceError as `until_done` does."""
        self._go_on(turn)
        time.sleep(seconds)
        yield from _keep_alive(turn)

    def result(
        self, turn: OpenTurn, function: Callable[[], T], give_back: Callable[[T], object] = lambda _: None
    ) -> Generator[KeepAlive, None, T]:
        """What `function` gives, which another thread calls. What comes when nobody waits any more is given back.

        Raises:
            ServiceError: what `function` raises, or as `until_done` does.
        """
        future = self._executor.submit(function)
        try:
            yield from self.until_done(turn, future)
        except BaseException:
            if not future.cancel():
                future.add_done_callback(lambda done: None if done.exception() else give_back(done.result()))
            raise
        return future.result()

    def last_result(self, turn: OpenTurn, function: Callable[[], T], grace_s: float) -> Generator[KeepAlive, None, T]:
        """The same for what a turn ends with: it is not given up but for time, `grace_s` after the deadline.

        Raises:
            ServiceError: what `function` raises, or DEADLINE.
        """
        future = self._executor.submit(function)
        until = time.monotonic() + turn.remaining_s + grace_s
        while not self._is_done(future):
            if time.monotonic() > until:
                raise deadline_passed()
            yield from _keep_alive(turn)
        return future.result()

    def in_passing(self, function: Callable[[], object]) -> None:
        """Have `function` called; it is waited for a moment only."""
        self._is_done(self._executor.submit(function))

    def _go_on(self, turn: OpenTurn) -> None:
        turn.go_on()
        if self._ending.is_set():
            raise shutting_down()
        if turn.is_late:
            raise deadline_passed()

    def _is_done(self, future: Future[Any]) -> bool:
        with suppress(TimeoutError, CancelledError):
            future.exception(_LOOK_EVERY_S)
        return future.done()


def _keep_alive(turn: OpenTurn) -> Iterator[KeepAlive]:
    now = time.monotonic()
    if now - turn.silent_since >= KEEP_ALIVE_S:
        turn.silent_since = now
        yield KeepAlive()
