"""What is done to a server under load, and how long it takes to serve again."""

from __future__ import annotations

import os
import random
import signal
import sqlite3
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from deploy.measure.soak.own_server import STEP_TIMEOUT_S, OwnServer

MARGIN_S = 3.0  # beyond the start of what was taken away
_PAUSE_S, _STALL_S, _LOCK_S = 3.0, 1.0, 2.0
_POLL_S = 0.1
_GIVE_UP_S = 300.0
_RANK = "server.engine.rank"
_WORKER = "worker [openchatkit-front]"
_GUNICORN = "master [openchatkit-front]"
# Of a stopped rank: its step's time, and what the watchdog's look may be late. Rank 0's own watchdog stands still.
_NOTICED_S = STEP_TIMEOUT_S + 2.5
_SILENCE_S = STEP_TIMEOUT_S + 15 + 2.5


@dataclass(frozen=True)
class Mended:
    """A fault and its end. Times in seconds.

    Attributes:
        back_s: from the fault to a 200 of /ping by what took the victim's place; None when none came.
        start_s: what of that the start of the replacement took: of a group as its log says, of a container from its
            first process to that 200, of a front what the first start of all took.
    """

    kind: str
    back_s: float | None
    start_s: float
    noticed_s: float = 0.0

    @property
    def is_in_time(self) -> bool:
        """Whether it served again within the start of what was lost, and 3 s."""
        return self.back_s is not None and self.back_s <= self.noticed_s + self.start_s + MARGIN_S


class Faults:
    """Random faults on `own`, whose first start took `start_s`."""

    def __init__(self, own: OwnServer, start_s: float, rng: random.Random) -> None:
        self._own = own
        self._start_s = start_s
        self._rng = rng
        kinds: dict[Callable[[], Mended], int] = {
            self._kill_rank: 4, self._stop_rank: 1, self._pause: 6, self._kill_worker: 8, self._kill_gunicorn: 1,
            self._kill_supervisor: 1, self._stall: 18, self._lock_store: 14,
        }  # fmt: skip
        self._kinds, self._weights = list(kinds), list(kinds.values())

    def one(self) -> Mended:
        """Inject one, and wait until it is mended."""
        return self._rng.choices(self._kinds, self._weights)[0]()

    def _kill_rank(self) -> Mended:
        return self._lose_rank("kill -9 of a rank", signal.SIGKILL, self._own.pids(_RANK))

    def _stop_rank(self) -> Mended:
        ranks = self._own.pids(_RANK)
        victim = self._rng.randrange(len(ranks)) if ranks else 0
        noticed_s = _SILENCE_S if victim == 0 else _NOTICED_S
        return self._lose_rank("SIGSTOP of a rank", signal.SIGSTOP, ranks[victim : victim + 1], noticed_s)

    def _lose_rank(self, kind: str, number: signal.Signals, ranks: Sequence[int], noticed_s: float = 0) -> Mended:
        if not ranks:
            return self._pause()
        starts, groups = self._own.num_starts, self._own.num_group_starts()
        victim = self._rng.choice(ranks)
        back_s = self._until_back(
            lambda: os.kill(victim, number), lambda: self._own.num_group_starts() > groups and _is_gone(victim)
        )
        if self._own.num_starts > starts:  # its restarts were used up, and the container was started anew
            return Mended(f"{kind}, restarts used up", back_s, self._own.up_s(), noticed_s)
        return Mended(kind, back_s, self._own.last_group_start_s(), noticed_s)

    def _kill_worker(self) -> Mended:
        workers = self._own.pids(_WORKER)
        if not workers:
            return self._pause()
        back_s = self._until_back(lambda: os.kill(workers[0], signal.SIGKILL), lambda: _is_gone(workers[0]))
        return Mended("kill -9 of the front's worker", back_s, self._start_s)

    def _kill_gunicorn(self) -> Mended:
        return self._lose_container("kill -9 of gunicorn", self._own.pids(_GUNICORN))

    def _kill_supervisor(self) -> Mended:
        return self._lose_container("kill -9 of the supervisor", [self._own.pid])

    def _lose_container(self, kind: str, victims: Sequence[int]) -> Mended:
        """What ends the whole container, which is then started anew; a worker that is left answers for a moment yet."""
        if not victims:
            return self._pause()
        groups = self._own.num_group_starts()
        back_s = self._until_back(
            lambda: os.kill(victims[0], signal.SIGKILL), lambda: self._own.num_group_starts() > groups
        )
        return Mended(kind, back_s, self._own.up_s())

    def _pause(self) -> Mended:
        """As a frozen container: every process stands still, and goes on."""

        return self._held_up(f"pause of {_PAUSE_S:g} s", _PAUSE_S, lambda: _freeze(self._own.tree(), _PAUSE_S))

    def _stall(self) -> Mended:
        """One process stands still for a moment."""
        victim = self._rng.choice(self._own.tree())
        return self._held_up(f"one process stopped for {_STALL_S:g} s", _STALL_S, lambda: _freeze([victim], _STALL_S))

    def _lock_store(self) -> Mended:
        """Somebody else writes to the store, and takes their time."""
        return self._held_up(f"store locked for {_LOCK_S:g} s", _LOCK_S, lambda: _lock(self._own.store_path, _LOCK_S))

    def _held_up(self, kind: str, seconds: float, hold_up: Callable[[], None]) -> Mended:
        """Nothing is lost but the time."""
        return Mended(kind, self._until_back(hold_up, lambda: True), 0.0, noticed_s=seconds)

    def _until_back(self, inject: Callable[[], None], is_replaced: Callable[[], bool]) -> float | None:
        began = time.monotonic()
        inject()
        while time.monotonic() - began < _GIVE_UP_S:
            if is_replaced() and self._own.server.get("/ping").status == 200:
                return time.monotonic() - began
            time.sleep(_POLL_S)
        return None


def _freeze(pids: Sequence[int], seconds: float) -> None:
    for pid in pids:
        _signal(pid, signal.SIGSTOP)
    try:
        time.sleep(seconds)
    finally:  # also when the soak is ended meanwhile: who stands still does not end
        for pid in pids:
            _signal(pid, signal.SIGCONT)


def _lock(path: Path, seconds: float) -> None:
    with closing(sqlite3.connect(path, timeout=_GIVE_UP_S, isolation_level=None)) as store:
        store.execute("BEGIN IMMEDIATE")
        time.sleep(seconds)
        store.execute("ROLLBACK")


def _signal(pid: int, number: signal.Signals) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:  # it ended meanwhile
        return


def _is_gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False
