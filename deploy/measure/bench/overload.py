"""`bench overload`: what a server does with many times the load that it can take.

Three runs: clients that each wait for their answer, more and more of them, for the most that the server does; arrivals
at that rate, for how long an answer takes then; and arrivals at a multiple of it. What was refused is no answer, and is
to be told at once.
"""

from __future__ import annotations

import argparse
import itertools
import json
import random
import re
import select
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any
from urllib.parse import urlsplit

from deploy.errors import DeployError
from deploy.measure.bench.figures import spread
from deploy.measure.bench.server_phases import resident_bytes
from deploy.measure.bench.target import Answer
from deploy.measure.bench.workload import Conversation, conversations

_PATH = "/v1/chat/completions"
_REFUSED = ("rate_limit_exceeded", "queue_full")
_TIMEOUT_S = 120.0
_BACKLOG_S = 0.05  # a generator that is later than that is itself the bottleneck, which the result says
_CLIENTS = (16, 32, 40)
_QUESTIONS = 64  # different ones, again and again
_REFUSAL, _CODE_OF_REFUSAL = b"HTTP/1.1 429 ", re.compile(rb'"code": ?"(\w+)"')
_LENGTH = re.compile(rb"\r\ncontent-length: (\d+)\r\n", re.IGNORECASE)


def add_overload_arguments(parser: argparse.ArgumentParser) -> None:
    """The flags that go with the word `overload`."""
    more = parser.add_argument_group("with overload", "plain chat completions at many times what the server can take")
    more.add_argument("--factor", type=float, default=10.0, help="times the capacity (default: %(default)s)")
    more.add_argument("--capacity-seconds", type=float, default=20.0, help="of each run before (default: %(default)s)")


def overloaded(arguments: argparse.Namespace) -> dict[str, Any]:
    """The three runs and what they come to. Raises DeployError."""
    if not arguments.url:
        raise DeployError("bench overload needs --url: an endpoint's own front stands between it and the server")
    return _Overload(arguments).measured()


@dataclass
class Load:
    """One run: its answers, what the server's processes held meanwhile, how late the generator was, what it took."""

    name: str
    answers: list[Answer] = field(default_factory=list)
    resident: list[int] = field(default_factory=list)  # bytes, once a second
    lateness: list[float] = field(default_factory=list)  # seconds
    seconds: float = 0.0
    cpu_s: float = 0.0  # of the generator, which the server has not where both are on one machine

    def figures(self) -> dict[str, Any]:
        """Rates a second, times in milliseconds."""
        good = [each for each in self.answers if not each.error]
        refused = [each for each in self.answers if each.error in _REFUSED]
        failed = [each.error for each in self.answers if each.error and each.error not in _REFUSED]
        return {
            "load": self.name,
            "seconds": round(self.seconds, 1),
            "offered_per_s": round(len(self.answers) / self.seconds, 2),
            "answered_per_s": round(len(good) / self.seconds, 3),
            "new_tokens_per_s": round(sum(each.num_new_tokens for each in good) / self.seconds, 1),
            "whole_ms": spread([1000 * each.whole_s for each in good]),
            "refused": len(refused),
            "refused_ms": spread([1000 * each.whole_s for each in refused]),
            "failed": {error: failed.count(error) for error in set(failed)},
            "resident_mb": [round(each / 1e6) for each in self.resident[:: max(1, len(self.resident) // 12)]],
            "generator_late_ms": spread([1000 * each for each in self.lateness]),
            "generator_cores": round(self.cpu_s / self.seconds, 3),
        }


class _Overload:
    def __init__(self, arguments: argparse.Namespace) -> None:
        self._arguments = arguments
        asked, host = conversations(arguments.workload or "chat", arguments.seed), place_of(arguments.url)[0]
        bodies = [self._body(next(asked)) for _ in range(_QUESTIONS)]
        self._requests = itertools.cycle([chat_head(host, len(body)) + body for body in bodies])
        self._rng = random.Random(arguments.seed)

    def measured(self) -> dict[str, Any]:
        """All runs and the comparison."""
        short_s = self._arguments.capacity_seconds
        self._run("warm-up", partial(Generator.closed, num_clients=_CLIENTS[0], seconds=short_s / 4))
        closed = [
            self._run(f"{count} clients", partial(Generator.closed, num_clients=count, seconds=short_s))
            for count in _CLIENTS
        ]
        best = max(closed, key=lambda load: load.figures()["answered_per_s"])
        rate = best.figures()["answered_per_s"]
        if not rate:
            raise DeployError(f"{self._arguments.url} answered nothing: {best.figures()['failed']}")
        at_capacity = self._open(rate, 2 * short_s)
        overload = self._open(rate * self._arguments.factor, self._arguments.duration)
        runs = [load.figures() for load in (*closed, at_capacity, overload)]
        return {"target": self._arguments.url, "fields": self._fields(), "runs": runs, **_compared(runs, overload)}

    def _open(self, rate: float, seconds: float) -> Load:
        arrivals = itertools.accumulate(iter(lambda: self._rng.expovariate(rate), None))
        return self._run(f"{rate:.1f} a second", partial(Generator.open, arrivals=arrivals, seconds=seconds))

    def _run(self, name: str, work: Callable[[Generator], None]) -> Load:
        load = Load(name)
        done = threading.Event()
        watching = threading.Thread(target=_watch, args=(self._arguments.url, load, done), daemon=True)
        watching.start()
        began, cpu_began = time.perf_counter(), time.process_time()
        work(Generator(place_of(self._arguments.url), self._requests, load))
        load.seconds, load.cpu_s = time.perf_counter() - began, time.process_time() - cpu_began
        done.set()
        watching.join()
        found = load.figures()
        print(f"{name}: {found['answered_per_s']} answers a second, {found['refused']} refused", file=sys.stderr)
        return load

    def _fields(self) -> dict[str, Any]:
        given = self._arguments
        fields = {"temperature": given.temperature, "top_k": given.top_k, "max_tokens": given.max_new_tokens}
        return {**fields, **({"no_retrieval": True} if given.no_retrieval else {})}

    def _body(self, asked: Conversation) -> bytes:
        message = {"role": "user", "content": asked.questions[0]}
        return json.dumps({**self._fields(), **asked.fields, "messages": [message]}).encode()


def _watch(url: str, load: Load, done: threading.Event) -> None:
    while True:
        found = resident_bytes(url)
        load.resident += [found] if found else []
        if done.wait(1.0):
            return


class Generator:
    """Asks from one thread over as many kept connections as are needed, for as little of the processor as it can:
    what it takes, the server that it measures has not.
    """

    def __init__(self, place: tuple[str, int], requests: Iterator[bytes], load: Load) -> None:
        self._place = place
        self._requests = requests
        self._load = load
        self._poller = select.epoll()
        self._idle: list[socket.socket] = []
        self._sockets: dict[int, socket.socket] = {}  # by file descriptor, as the next
        self._under_way: dict[int, tuple[float, bytes]] = {}

    def closed(self, num_clients: int, seconds: float) -> None:
        """So many clients, each asking as soon as it was answered."""
        until = time.perf_counter() + seconds
        for _ in range(num_clients):
            self._ask()
        while self._under_way:
            for _ in range(self._take(1.0)):
                if time.perf_counter() < until:
                    self._ask()
        self._close()

    def open(self, arrivals: Iterator[float], seconds: float) -> None:
        """Arrivals, in seconds from now, whatever becomes of the ones before; the last ones are waited for."""
        began = time.perf_counter()
        at = next(arrivals)
        while at < seconds or self._under_way:
            wait_s = began + at - time.perf_counter() if at < seconds else 1.0
            if wait_s > 0:
                self._take(wait_s)
                continue
            self._load.lateness.append(-wait_s)
            self._ask()
            at = next(arrivals)
        self._close()

    def _ask(self) -> None:
        request, began = next(self._requests), time.perf_counter()
        try:
            sock = self._idle.pop() if self._idle else self._connect()
            sock.sendall(request)
        except OSError as error:
            self._note(began, error=type(error).__name__)
            return
        self._under_way[sock.fileno()] = (began, b"")

    def _connect(self) -> socket.socket:
        sock = socket.create_connection(self._place, timeout=_TIMEOUT_S)
        self._sockets[sock.fileno()] = sock
        self._poller.register(sock.fileno(), select.EPOLLIN)  # for good: to begin and end with each request costs
        return sock

    def _take(self, wait_s: float) -> int:
        """Read what has come within `wait_s`; how many answers are whole."""
        return sum(self._read(number) for number, _ in self._poller.poll(wait_s))

    def _read(self, number: int) -> bool:
        sock = self._sockets[number]
        try:
            piece = sock.recv(65536)
        except OSError:
            piece = b""
        began, answer = self._under_way.get(number, (None, b""))
        answer += piece
        if piece and began is not None and not _is_whole(answer):
            self._under_way[number] = (began, answer)
            return False
        self._under_way.pop(number, None)
        if piece and began is not None:
            self._idle.append(sock)
            self._note(began, answer)
        else:
            self._drop(number)
            if began is not None:
                self._note(began, error="ConnectionClosed")
        return began is not None

    def _drop(self, number: int) -> None:
        """A connection that the server closed, whether or not something was asked over it."""
        self._poller.unregister(number)
        sock = self._sockets.pop(number)
        if sock in self._idle:
            self._idle.remove(sock)
        sock.close()

    def _note(self, began: float, answer: bytes = b"", error: str = "") -> None:
        seconds = time.perf_counter() - began
        if refused := _CODE_OF_REFUSAL.search(answer) if answer.startswith(_REFUSAL) else None:
            self._load.answers.append(Answer(began, seconds, error=refused[1].decode()))  # most are, and read so
            return
        found: dict[str, Any] = json.loads(answer.partition(b"\r\n\r\n")[2]) if answer else {}
        usage, choice = found.get("usage", {}), (found.get("choices") or [{}])[0]
        self._load.answers.append(
            Answer(
                began,
                seconds,
                num_prompt_tokens=usage.get("prompt_tokens", 0),
                num_new_tokens=usage.get("completion_tokens", 0),
                finish_reason=choice.get("finish_reason") or "",
                error=str(found["error"]["code"]) if "error" in found else error,
            )
        )

    def _close(self) -> None:
        for sock in self._sockets.values():
            sock.close()
        self._poller.close()


def _is_whole(answer: bytes) -> bool:
    head_end = answer.find(b"\r\n\r\n")
    found = _LENGTH.search(answer, 0, head_end + 2) if head_end >= 0 else None
    return found is not None and len(answer) >= head_end + 4 + int(found[1])


def place_of(url: str) -> tuple[str, int]:
    """Host and port."""
    parts = urlsplit(url if "//" in url else f"http://{url}")
    return parts.hostname or "", parts.port or 80


def chat_head(host: str, num_bytes: int) -> bytes:
    """The head of a chat request whose body has so many bytes."""
    head = f"POST {_PATH} HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\n"
    return f"{head}Content-Length: {num_bytes}\r\n\r\n".encode()


def _compared(runs: Sequence[dict[str, Any]], overload: Load) -> dict[str, Any]:
    """What the overload is measured by."""
    *_, at_capacity, over = runs
    best = max(run["answered_per_s"] for run in runs[:-1])
    held = overload.resident or [1]
    third = max(1, len(held) // 3)
    before, after = (sum(part) / third for part in (held[:third], held[-third:]))
    return {
        "goodput_of_best": round(over["answered_per_s"] / best, 3),
        "whole_p99_of_capacity": round(over["whole_ms"]["p99"] / at_capacity["whole_ms"]["p99"], 3),
        "refused_p99_ms": over["refused_ms"].get("p99"),
        "memory_growth": round(after / before - 1, 4),
        "generator_was_late": over["generator_late_ms"]["p99"] > 1000 * _BACKLOG_S,
    }
