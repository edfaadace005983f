"""`bench slow-clients`: what clients that never finish their requests cost one that does.

Half of them send the head of a request byte by byte, half its body; a good client asks meanwhile, as it did before.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import time
from typing import Any

from deploy.errors import DeployError
from deploy.measure.bench.figures import spread
from deploy.measure.bench.overload import chat_head, place_of

_DRIP_EVERY_S = 0.5
_HALF_A_HEAD = b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nX-Slow: "


def add_slow_client_arguments(parser: argparse.ArgumentParser) -> None:
    """The flags that go with the word `slow-clients`."""
    more = parser.add_argument_group("with slow-clients", "clients that drip heads and bodies beside a good one")
    more.add_argument("--slow", type=int, default=100, help="how many (default: %(default)s)")
    more.add_argument("--questions", type=int, default=60, help="of the good one, each time (default: %(default)s)")


def slowed(arguments: argparse.Namespace) -> dict[str, Any]:
    """Times of the good client alone and beside the slow ones. Raises DeployError."""
    if not arguments.url:
        raise DeployError("bench slow-clients needs --url")
    return asyncio.run(_measured(arguments))


async def _measured(arguments: argparse.Namespace) -> dict[str, Any]:
    host, port = place_of(arguments.url)
    body = json.dumps(
        {"messages": [{"role": "user", "content": "Good morning!"}], "max_tokens": 1, "no_retrieval": True}
    ).encode()
    await _times(host, port, body, 5)  # warms up
    alone = await _times(host, port, body, arguments.questions)
    slow = [asyncio.create_task(_drip(host, port, is_head=number % 2 == 0)) for number in range(arguments.slow)]
    await asyncio.sleep(2 * _DRIP_EVERY_S)
    beside = await _times(host, port, body, arguments.questions)
    for task in slow:
        task.cancel()
    await asyncio.gather(*slow, return_exceptions=True)
    found = {"alone_ms": spread(alone), "beside_ms": spread(beside)}
    delays = {name: round(found["beside_ms"][name] - found["alone_ms"][name], 1) for name in ("p50", "p90", "p99")}
    return {"target": arguments.url, "slow_clients": arguments.slow, **found, "delay_ms": delays}


async def _times(host: str, port: int, body: bytes, count: int) -> list[float]:
    times = []
    for _ in range(count):
        began = time.perf_counter()
        reader, writer = await asyncio.open_connection(host, port)
        writer.write(chat_head(host, len(body)).replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n") + body)
        answer = (await reader.read()).partition(b"\r\n\r\n")[2]
        writer.close()
        if b'"error"' in answer:
            raise DeployError(f"the good client was refused: {answer.decode()}")
        times.append(1000 * (time.perf_counter() - began))
    return times


async def _drip(host: str, port: int, *, is_head: bool) -> None:
    """Begin a request and go on with it a byte at a time, until the server ends it; then begin again."""
    while True:
        reader, writer = await asyncio.open_connection(host, port)
        ended = asyncio.create_task(reader.read())
        try:
            writer.write(_HALF_A_HEAD if is_head else chat_head(host, 1_000_000) + b"{")
            while not ended.done():
                writer.write(b"x")
                await asyncio.wait([ended], timeout=_DRIP_EVERY_S)
        finally:
            ended.cancel()
            writer.close()
