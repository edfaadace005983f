"""Shared memory: how much of /dev/shm a group takes, and the segments that nobody unlinks when a group ends."""

from __future__ import annotations

import contextlib
import os
import time
from pathlib import Path

SHM = Path("/dev/shm")  # noqa: S108 - where shm_open puts its files
# One segment a rank: two small and two large buffers and the two states, as DeepSpeed's shm.cpp declares them.
SEGMENT_BYTES = 2 * 2**20 + 2 * 32 * 2**20 + 8
_NAME = "deepspeed_allreduce_buffer"
_SETTLED_S = 60.0


def shm_need(world: int, device: str) -> int:
    """Bytes for `world` ranks on `device` (cpu or cuda). A rank alone passes nothing on; NCCL's buffers are elsewhere.

    Since 2.24 NCCL takes them from pinned host memory (cuMem) and falls back to /dev/shm where that fails.
    """
    return world * SEGMENT_BYTES if device == "cpu" and world > 1 else 0


def unlink_segments(master_port: int, world: int, folder: Path = SHM, address: str = "127.0.0.1") -> int:
    """Remove what a group that met on `address`:`master_port` left behind; how many segments there were."""
    names = [f"{_NAME}_{os.getuid()}_{address}_{master_port}_{rank}" for rank in range(world)]
    return _unlink([folder / name for name in names if (folder / name).exists()])


def unlink_abandoned(folder: Path = SHM) -> int:
    """Remove segments of this user that no living process has mapped: a supervisor killed by force left them.

    Segments younger than a minute are kept: their group may not have mapped them yet.
    """
    before = time.time() - _SETTLED_S
    found = [path for path in folder.glob(f"{_NAME}_{os.getuid()}_*") if path.stat().st_mtime < before]
    mapped = _mapped_names() if found else set()
    return _unlink([path for path in found if path.name not in mapped])


def _mapped_names() -> set[str]:
    names: set[str] = set()
    for maps in Path("/proc").glob("[0-9]*/maps"):
        with contextlib.suppress(OSError):  # the process ended, or is not ours
            lines = maps.read_text().splitlines()
            names.update(line.rpartition("/")[2] for line in lines if _NAME in line)
    return names


def _unlink(paths: list[Path]) -> int:
    for path in paths:
        path.unlink(missing_ok=True)
    return len(paths)
