"""How long a turn's reads and writes take: python -m server.chat.store.bench sqlite:////var/lib/chat.sqlite

Writes sessions of its own into the store and erases them again. For SQLite it also times the disk by itself, since a
finished turn waits for it.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
import time
import uuid
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

from server.chat.records.turn_records import Session, Turn
from server.chat.store.from_url import SQLITE, open_store
from server.chat.store.store import Store, next_turn

SESSION_TURNS = 25
STEPS = ("load", "claim", "complete", "turn")


def time_turns(store: Store, num_turns: int, max_turns: int = 256) -> dict[str, list[float]]:
    """Milliseconds of each step, and of the turn as a whole, for `num_turns` turns in sessions of `SESSION_TURNS`."""
    taken: dict[str, list[float]] = {step: [] for step in STEPS}
    sessions = [uuid.uuid4().hex for _ in range(-(-num_turns // SESSION_TURNS))]
    for number in range(num_turns):
        for step, milliseconds in _time_turn(store, sessions[number // SESSION_TURNS], max_turns).items():
            taken[step].append(milliseconds)
    for session_id in sessions:
        store.delete(session_id)
    return taken


def _time_turn(store: Store, session_id: str, max_turns: int) -> dict[str, float]:
    times = [time.perf_counter()]
    session = store.load(session_id, max_turns) or Session(session_id, time.time())
    times.append(time.perf_counter())
    claim = store.claim(session, "bench")
    times.append(time.perf_counter())
    store.complete(
        claim, Turn(next_turn(session), "question " * 20, "answer " * 80, finish_reason="stop", created_at=time.time())
    )
    times.append(time.perf_counter())
    steps = [after - before for before, after in pairwise(times)]
    return {step: 1000 * seconds for step, seconds in zip(STEPS, [*steps, sum(steps)], strict=True)}


def time_disk(folder: Path, num_writes: int) -> list[float]:
    """Milliseconds that the disk under `folder` takes to make one 4 KB write durable."""
    with tempfile.TemporaryFile(dir=folder) as file:
        return [_time_call(lambda: _write_through(file.fileno())) for _ in range(num_writes)]


def _write_through(descriptor: int) -> None:
    os.pwrite(descriptor, bytes(4096), 0)
    os.fdatasync(descriptor)


def _time_call(call: Callable[[], None]) -> float:
    start = time.perf_counter()
    call()
    return 1000 * (time.perf_counter() - start)


def _percentiles(milliseconds: list[float]) -> dict[str, float]:
    cuts = statistics.quantiles(milliseconds, n=100, method="inclusive")
    return {f"p{place}_ms": round(cuts[place - 1], 3) for place in (50, 90, 99)}


def main() -> None:
    """Print one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("url", help="as OCK_STORE")
    parser.add_argument("--turns", type=int, default=1000)
    arguments = parser.parse_args()
    store = open_store(arguments.url, clock=time.time, session_ttl_s=86400, session_lock_s=600)
    taken = time_turns(store, arguments.turns)
    store.close()
    if arguments.url.startswith(SQLITE):
        taken["disk"] = time_disk(Path(arguments.url.removeprefix(SQLITE)).parent, 200)
    load = os.getloadavg()[0]
    steps = {step: _percentiles(each) for step, each in taken.items()}
    print(json.dumps({"store": arguments.url, "turns": arguments.turns, "machine_load": load, **steps}, indent=2))


if __name__ == "__main__":
    main()
