"""Load of two kinds: so many clients that each wait for their answer, or arrivals that wait for nobody."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from deploy.measure.bench.target import Answer, Target, ask
from deploy.measure.bench.workload import Conversation

_MOST_UNDER_WAY = 1024  # of an open load; beyond it the server is lost and so is the measurement


@dataclass(frozen=True)
class Plan:
    """How a run is made.

    Attributes:
        fields: of every request's body, unless its conversation says otherwise.
    """

    duration_s: float
    seed: int
    fields: dict[str, Any]


class Run:
    """Answers as they come in. Thread-safe."""

    def __init__(self, target: Target, conversations: Iterator[Conversation], plan: Plan) -> None:
        self._target = target
        self._conversations = conversations
        self._plan = plan
        self._lock = threading.Lock()
        self.answers: list[Answer] = []
        self.began = time.perf_counter()

    @property
    def elapsed_s(self) -> float:
        """Seconds since the run began."""
        return time.perf_counter() - self.began

    def closed(self, num_clients: int) -> None:
        """`num_clients` clients, each asking as soon as it was answered, until the time is over."""
        clients = [threading.Thread(target=self._client, daemon=True) for _ in range(num_clients)]
        for client in clients:
            client.start()
        for client in clients:
            client.join()

    def open(self, rate: float) -> None:
        """Conversations that begin at random, `rate` a second on average (a Poisson process), until the time is over.

        Returns when the last is answered.
        """
        rng = random.Random(self._plan.seed)
        under_way: list[threading.Thread] = []
        arrives_at = rng.expovariate(rate)
        while arrives_at < self._plan.duration_s:
            time.sleep(max(0.0, arrives_at - self.elapsed_s))
            under_way = [each for each in under_way if each.is_alive()]
            if len(under_way) >= _MOST_UNDER_WAY:
                self._note(Answer(self.elapsed_s, 0.0, error="too_many_under_way"))
            else:
                under_way.append(threading.Thread(target=self._converse, daemon=True))
                under_way[-1].start()
            arrives_at += rng.expovariate(rate)
        for each in under_way:
            each.join()

    def _client(self) -> None:
        while self.elapsed_s < self._plan.duration_s:
            self._converse()

    def _converse(self) -> None:
        with self._lock:
            conversation = next(self._conversations)
        said: list[dict[str, str]] = []
        for question in conversation.questions:
            said.append({"role": "user", "content": question})
            body = {**self._plan.fields, **conversation.fields, "messages": said}
            answer = ask(self._target, body, self.began)
            self._note(answer)
            if answer.error:
                return
            said = [*said, {"role": "assistant", "content": answer.text}]

    def _note(self, answer: Answer) -> None:
        with self._lock:
            self.answers.append(answer)


def with_progress(run: Run, work: Callable[[], None], report: Callable[[int, float], None]) -> None:
    """Do `work`, telling `report` the number of answers and the seconds about once a second."""
    done = threading.Event()

    def tell() -> None:
        while not done.wait(1.0):
            report(len(run.answers), run.elapsed_s)

    teller = threading.Thread(target=tell, daemon=True)
    teller.start()
    try:
        work()
    finally:
        done.set()
        teller.join()
