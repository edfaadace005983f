"""What a server holds while nobody asks it anything: memory, descriptors, threads, blocks of keys and values."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from pathlib import Path

from deploy.measure.soak.call import Server
from deploy.measure.soak.own_server import OwnServer

_SHARE = 0.02  # by how much a figure may grow
_COUNTED, _SPARE = (
    ("threads", "descriptors", "fds"),
    4,
)  # of things that are counted, so many at most: pools fill up late
_QUIET_S = 3.0
_LONGEST_S = 60.0
_TOTAL, _FREE = "ock_engine_total_blocks", "ock_engine_free_blocks"
_METRIC = re.compile(r"^(\w+)(\{[^}]*\})? (\S+)$", re.MULTILINE)
_OF_FRONT = ("process_resident_memory_bytes", "process_open_fds", "ock_rank_resident_memory_bytes")
_ROLES = {"front": "worker [openchatkit-front]", "rank": "server.engine.rank"}


def vitals(server: Server, own: OwnServer | None) -> dict[str, float]:
    """The figures by name, once the server has been idle for some seconds. What grows with time alone is not in it."""
    _wait_idle(server)
    time.sleep(_QUIET_S)
    found = {name: value for name, value in metrics(server).items() if name.startswith(_OF_FRONT)}
    for role, words in _ROLES.items() if own is not None else ():
        assert own is not None
        for number, pid in enumerate(own.pids(words)):
            found[f"{role}.{number} threads"] = float(len(list(Path(f"/proc/{pid}/task").iterdir())))
            found[f"{role}.{number} descriptors"] = float(len(list(Path(f"/proc/{pid}/fd").iterdir())))
    return found


def grown(before: dict[str, float], after: dict[str, float]) -> list[str]:
    """The figures that grew by more than they may, each with its share."""
    return [
        f"{name}: {after[name] / value - 1:.1%}"
        for name, value in before.items()
        if after.get(name, 0.0) - value > max(_SHARE * value, _SPARE if name.endswith(_COUNTED) else 0)
    ]


def metrics(server: Server) -> dict[str, float]:
    """Every sample of /metrics by its name and labels."""
    text = server.get("/metrics").record or ""
    return {f"{name}{labels}": float(value) for name, labels, value in _METRIC.findall(text)}


def held_blocks(server: Server) -> dict[str, float]:
    """Blocks that somebody holds, by model. A judge keeps those of its policy's examples for good, chat keeps none."""
    found = metrics(server)
    models = [name.removeprefix(_TOTAL) for name in found if name.startswith(_TOTAL)]
    return {model: found[_TOTAL + model] - found[_FREE + model] for model in models}


def lost_blocks(before: dict[str, float], after: dict[str, float]) -> list[str]:
    """What is wrong with the blocks held while nobody asks anything."""
    return [
        f"{count:g} blocks of {model} are held by nobody"
        for model, held in after.items()
        if (count := held - (0 if "chat" in model else before.get(model, 0)))
    ]


def _wait_idle(server: Server) -> None:
    def is_idle() -> bool:
        found = metrics(server)
        busy = [found.get(name, 1.0) for name in ("ock_engine_running", "ock_engine_waiting")]
        return not any(busy)

    _wait(is_idle)


def _wait(condition: Callable[[], bool]) -> None:
    """For a condition that may never come: what is measured then shows it."""
    give_up = time.monotonic() + _LONGEST_S
    while not condition() and time.monotonic() < give_up:
        time.sleep(0.5)
