"""Makes requests of the front in this process, and finds those that it does not deal with."""

from __future__ import annotations

import faulthandler
import json
import random
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from flask import Flask

from tests.fuzz.requests import Request, make

HANG_S = 20.0
_MAY_FAIL = {503}


@dataclass
class Found:
    """What some requests came to; `faults` are those that must not be."""

    statuses: Counter[int] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)
    seconds: float = 0.0
    slowest_s: float = 0.0


def fuzz(app: Flask, num_requests: int, seed: int, say: Callable[[str], None] = lambda _: None) -> Found:
    """`num_requests` requests, the same for the same seed. A request that hangs ends the process with every stack."""
    rng, found, client = random.Random(seed), Found(), app.test_client()
    began = time.monotonic()
    for number in range(1, num_requests + 1):
        request = make(rng)
        faulthandler.dump_traceback_later(HANG_S, exit=True)
        at = time.monotonic()
        if fault := _fault(client, request, found.statuses):
            found.faults.append(f"request {number} of seed {seed}: {fault}: {request}"[:1500])
        found.slowest_s = max(found.slowest_s, time.monotonic() - at)
        if number % 5000 == 0:
            say(f"{number} requests, {len(found.faults)} faults, {time.monotonic() - began:.0f} s")
    faulthandler.cancel_dump_traceback_later()
    found.seconds = time.monotonic() - began
    return found


def _fault(client: Any, request: Request, statuses: Counter[int]) -> str:
    """What is wrong with the answer; empty for one that may be."""
    try:
        response = client.open(request.path, method=request.method, data=request.body, headers=request.headers)
        try:
            body = response.get_data()
        finally:
            response.close()  # as a server does: what the request held is free then
    except Exception as error:  # noqa: BLE001 - whatever comes out of the application is a fault of it
        return f"{type(error).__name__}: {error}"
    statuses[response.status_code] += 1
    if response.status_code >= 500 and response.status_code not in _MAY_FAIL:
        return f"{response.status_code} {body[:300]!r}"
    if response.status_code >= 400 and request.method not in ("HEAD", "OPTIONS"):
        return _malformed(body)
    return ""


def _malformed(body: bytes) -> str:
    try:
        error = json.loads(body)["error"]
        return "" if error["code"] and error["message"] else f"an error without words: {body[:200]!r}"
    except (ValueError, KeyError, TypeError):
        return f"an error of another shape: {body[:200]!r}"
