"""The whole soak: load with faults, load without, quiet, and the report."""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from deploy.errors import DeployError
from deploy.measure.soak.books import Books
from deploy.measure.soak.call import Answer, Server
from deploy.measure.soak.clients import Client
from deploy.measure.soak.faults import Faults, Mended
from deploy.measure.soak.own_server import OwnServer
from deploy.measure.soak.vitals import grown, held_blocks, lost_blocks, vitals

_CALM_SHARE, _CALM_S = 0.4, 480.0  # of the time, and at most so long, without faults
_WARM_SHARE = 0.25  # of that; memory is compared from then on
_MAX_HISTORY_PAGES = 100
_READ_ATTEMPTS = 60


@dataclass(frozen=True)
class Plan:
    """What a soak does."""

    seconds: float
    num_clients: int
    seed: int
    faults: bool
    longest_pause_s: float = 10.0  # between two faults

    @property
    def calm_s(self) -> float:
        """Without faults, at the end."""
        return min(_CALM_SHARE * self.seconds, _CALM_S)


class Soak:
    """One run against `server`, which is `own` where it was started here."""

    def __init__(
        self, server: Server, own: OwnServer | None, plan: Plan, start_s: float, say: Callable[[str], None]
    ) -> None:
        self._server = server
        self._own = own
        self._plan = plan
        self._start_s = start_s
        self._say = say
        self._fault = threading.Event()
        self.books = Books(self._fault.is_set)
        self.mended: list[Mended] = []

    def run(self) -> dict[str, Any]:
        """Do it all; `wrong` of the report is empty when the books balance, `late` and `grown` when nothing is."""
        plan, began = self._plan, time.monotonic()
        with self._load("a"):
            self._inject_until(began + plan.seconds - plan.calm_s)
            self._wait_until(began + plan.seconds - (1 - _WARM_SHARE) * plan.calm_s)
        before, held = vitals(self._server, self._own), held_blocks(self._server)
        with self._load("b"):
            self._wait_until(began + plan.seconds)
        after = vitals(self._server, self._own)
        report = self._report(before, after, time.monotonic() - began)
        report["wrong"] += lost_blocks(held, held_blocks(self._server))
        return report

    @contextmanager
    def _load(self, name: str) -> Iterator[None]:
        stop = threading.Event()
        clients = [
            Client(self._server, self.books, random.Random(f"{self._plan.seed} {name} {number}"), f"{name}{number}")
            for number in range(self._plan.num_clients)
        ]
        threads = [threading.Thread(target=client.run, args=(stop,)) for client in clients]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            stop.set()
            for thread in threads:
                thread.join()

    def _inject_until(self, end: float) -> None:
        if not self._plan.faults or self._own is None:
            self._wait_until(end)
            return
        rng = random.Random(self._plan.seed)
        faults = Faults(self._own, self._start_s, rng)
        while time.monotonic() < end:
            time.sleep(rng.uniform(0, self._plan.longest_pause_s))
            self._fault.set()
            self.books.fault_began()
            self.mended.append(faults.one())
            self._fault.clear()
            self._say(f"{len(self.mended)} faults, {self.books.num_ended} requests ended: {self.mended[-1]}")

    def _wait_until(self, end: float) -> None:
        while (left := end - time.monotonic()) > 0:
            time.sleep(min(10.0, left))
            self._say(f"{self.books.num_ended} requests ended, {len(self.books.wrong)} wrong")

    def _report(self, before: dict[str, float], after: dict[str, float], seconds: float) -> dict[str, Any]:
        wrong = self.books.balance(self._stored)
        wrong += [f"{each.kind}: it never served again" for each in self.mended if each.back_s is None]
        return {
            "seconds": round(seconds, 1),
            "clients": self._plan.num_clients,
            "seed": self._plan.seed,
            **self.books.summary(),
            "fault_counts": dict(Counter(each.kind for each in self.mended)),
            "faults": [{**vars(each), "in_time": each.is_in_time} for each in self.mended],
            "vitals": {name: [value, after.get(name)] for name, value in before.items()},
            "wrong": wrong,
            "late": [
                f"{each.kind}: {each.back_s:.1f} s" for each in self.mended if each.back_s and not each.is_in_time
            ],
            "grown": grown(before, after),
        }

    def _read(self, path: str) -> Answer:
        """A page of a conversation, asked for again while it is refused. Raises DeployError when it stays so."""
        for _ in range(_READ_ATTEMPTS):
            answer = self._server.get(path)
            if answer.status in (200, 404):
                return answer
            time.sleep(0.5)
        raise DeployError(f"{path}: the books cannot be checked: {answer}")

    def _stored(self, session_id: str) -> list[str] | None:
        questions: list[str] = []
        after = 0
        for _ in range(_MAX_HISTORY_PAGES):
            answer = self._read(f"/sessions/{session_id}?after={after}")
            if answer.status == 404:
                return None
            questions += [turn["user"] for turn in answer.record["turns"]]
            if (following := answer.record.get("next_after")) is None:
                break
            after = following
        return questions
