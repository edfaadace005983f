"""How long the phases of a turn took."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import ParamSpec, TypeVar

import msgspec

P = ParamSpec("P")
R = TypeVar("R")

CLAIM = "claim"  # loading the session and taking its next turn
JUDGE = "judge"  # the question, with what a client brought along
SEARCH = "search"  # passages
FIRST_TOKEN = "first_token"  # noqa: S105 - the engine's queue and the prefill
DECODE = "decode"  # from the first token to the last, verdicts on the reply beside it
STORE = "store"  # writing the turn down
PHASES = (CLAIM, JUDGE, SEARCH, FIRST_TOKEN, DECODE, STORE)


class Phase(msgspec.Struct, frozen=True):
    """One phase of a turn."""

    name: str
    began_at: float  # seconds since the epoch
    seconds: float


class PhaseClock:
    """Times phases, some of which run side by side, so that their sum says nothing. Thread-safe by phase."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._began: dict[str, float] = {}
        self._began_at: dict[str, float] = {}

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Time what is done inside, also when it fails."""
        self.begin(name)
        try:
            yield
        finally:
            self.end(name)

    def timed(self, name: str, function: Callable[P, R]) -> Callable[P, R]:
        """`function` as a phase, for another thread to call."""

        def call(*args: P.args, **kwargs: P.kwargs) -> R:
            with self.phase(name):
                return function(*args, **kwargs)

        return call

    def begin(self, name: str) -> None:
        """A phase begins."""
        self._began[name] = time.monotonic()
        self._began_at[name] = time.time()

    def end(self, name: str) -> None:
        """A phase that has begun ends; ending it again changes nothing."""
        began = self._began.pop(name, None)
        if began is not None:
            self.seconds[name] = time.monotonic() - began

    @property
    def phases(self) -> tuple[Phase, ...]:
        """What has ended, in the order of a turn."""
        return tuple(Phase(name, self._began_at[name], self.seconds[name]) for name in PHASES if name in self.seconds)
