"""`bench overload`: what a server does with many times the load that it can take.

Three runs: clients that each wait for their answer, more and more of them, for the most that the server does; arrivals
at that rate, for how long an answer takes then; and arrivals at a multiple of it. What was refused is no answer, and is
to be told at once.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import sys
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, field
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
_CLIENTS = (8, 16, 32, 48)


def add_overload_arguments(parser: argparse.ArgumentParser) -> None:
    """The flags that go with the word `overload`."""
    more = parser.add_argument_group("with overload", "plain chat completions at many times what the server can take")
    more.add_argument("--factor", type=float, default=10.0, help="times the capacity (default: %(default)s)")
    more.add_argument("--capacity-seconds", type=float, default=20.0, help="of each run before (default: %(default)s)")


def overloaded(arguments: argparse.Namespace) -> dict[str, Any]:
    """The three runs and what they come to. Raises DeployError."""
    if not arguments.url:
        raise DeployError("bench overload needs --url: an endpoint's own front stands between it and the server")
    return asyncio.run(_Overload(arguments).measured())


@dataclass
class Load:
    """One run: its answers, what the server's processes held meanwhile, and how late the generator was."""

    name: str
    answers: list[Answer] = field(default_factory=list)
    resident: list[int] = field(default_factory=list)  # bytes, once a second
    lateness: list[float] = field(default_factory=list)  # seconds
    seconds: float = 0.0

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
        }


class _Overload:
    def __init__(self, arguments: argparse.Namespace) -> None:
        self._host, self._port = place_of(arguments.url)
        self._arguments = arguments
        self._asked: Iterator[Conversation] = conversations(arguments.workload or "chat", arguments.seed)
        self._rng = random.Random(arguments.seed)

    async def measured(self) -> dict[str, Any]:
        """All runs and the comparison."""
        short_s = self._arguments.capacity_seconds
        closed = [await self._run(f"{count} clients", self._closed(count, short_s)) for count in _CLIENTS]
        best = max(closed, key=lambda load: load.figures()["answered_per_s"])
        rate = best.figures()["answered_per_s"]
        if not rate:
            raise DeployError(f"{self._arguments.url} answered nothing: {best.figures()['failed']}")
        at_capacity = await self._run(f"{rate:.2f} a second", self._open(rate, 2 * short_s))
        over = rate * self._arguments.factor
        overload = await self._run(f"{over:.1f} a second", self._open(over, self._arguments.duration))
        runs = [load.figures() for load in (*closed, at_capacity, overload)]
        return {"target": self._arguments.url, "fields": self._fields(), "runs": runs, **_compared(runs, overload)}

    async def _run(self, name: str, work: Callable[[Load], Awaitable[None]]) -> Load:
        load = Load(name)
        watching = asyncio.create_task(self._watch(load))
        began = time.perf_counter()
        await work(load)
        load.seconds = load.seconds or time.perf_counter() - began
        watching.cancel()
        found = load.figures()
        print(f"{name}: {found['answered_per_s']} answers a second, {found['refused']} refused", file=sys.stderr)
        return load

    def _closed(self, num_clients: int, seconds: float) -> Callable[[Load], Awaitable[None]]:
        async def client(load: Load, until: float) -> None:
            while time.perf_counter() < until:
                await self._ask(load)

        async def work(load: Load) -> None:
            until = time.perf_counter() + seconds
            await asyncio.gather(*(client(load, until) for _ in range(num_clients)))

        return work

    def _open(self, rate: float, seconds: float) -> Callable[[Load], Awaitable[None]]:
        """Arrivals at random; what is answered after the last arrival counts as well, and so does its time."""

        async def work(load: Load) -> None:
            began = at = time.perf_counter()
            under_way: set[asyncio.Task[None]] = set()
            while (at := at + self._rng.expovariate(rate)) < began + seconds:
                await asyncio.sleep(max(0.0, at - time.perf_counter()))
                load.lateness.append(max(0.0, time.perf_counter() - at))
                task = asyncio.create_task(self._ask(load))
                under_way.add(task)
                task.add_done_callback(under_way.discard)
            await asyncio.gather(*under_way)

        return work

    def _fields(self) -> dict[str, Any]:
        given = self._arguments
        fields = {"temperature": given.temperature, "top_k": given.top_k, "max_tokens": given.max_new_tokens}
        return {**fields, **({"no_retrieval": True} if given.no_retrieval else {})}

    async def _ask(self, load: Load) -> None:
        asked = next(self._asked)
        message = {"role": "user", "content": asked.questions[0]}
        body = json.dumps({**self._fields(), **asked.fields, "messages": [message]}).encode()
        began = time.perf_counter()
        try:
            answer = await asyncio.wait_for(posted(self._host, self._port, body), _TIMEOUT_S)
        except (OSError, TimeoutError, ValueError, asyncio.IncompleteReadError) as error:
            answer = {"error": {"code": type(error).__name__}}
        usage, choice = answer.get("usage", {}), (answer.get("choices") or [{}])[0]
        load.answers.append(
            Answer(
                began,
                time.perf_counter() - began,
                num_prompt_tokens=usage.get("prompt_tokens", 0),
                num_new_tokens=usage.get("completion_tokens", 0),
                finish_reason=choice.get("finish_reason") or "",
                error=str(answer["error"]["code"]) if "error" in answer else "",
            )
        )

    async def _watch(self, load: Load) -> None:
        while True:
            found = await asyncio.to_thread(resident_bytes, f"http://{self._host}:{self._port}")
            load.resident += [found] if found else []
            await asyncio.sleep(1.0)


def place_of(url: str) -> tuple[str, int]:
    """Host and port."""
    parts = urlsplit(url if "//" in url else f"http://{url}")
    return parts.hostname or "", parts.port or 80


async def posted(host: str, port: int, body: bytes) -> dict[str, Any]:
    """The answer to a chat request on a connection of its own. Raises OSError, ValueError and the like."""
    reader, writer = await asyncio.open_connection(host, port)
    try:
        writer.write(chat_head(host, len(body)) + body)
        answer: dict[str, Any] = json.loads((await reader.read()).partition(b"\r\n\r\n")[2])
        return answer
    finally:
        writer.close()


def chat_head(host: str, num_bytes: int) -> bytes:
    """The head of a chat request whose body has so many bytes."""
    head = f"POST {_PATH} HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\nConnection: close\r\n"
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
