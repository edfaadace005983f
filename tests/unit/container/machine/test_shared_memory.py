from __future__ import annotations

import mmap
import os
from pathlib import Path

from container.machine.shared_memory import SHM, unlink_abandoned, unlink_segments

OLD = (1, 1)


def touch(folder: Path, port: int, rank: int, uid: int | None = None) -> Path:
    path = folder / f"deepspeed_allreduce_buffer_{os.getuid() if uid is None else uid}_127.0.0.1_{port}_{rank}"
    path.write_bytes(b"x" * 4096)
    return path


def test_only_the_segments_of_the_group_on_that_port_are_unlinked(tmp_path: Path) -> None:
    mine = [touch(tmp_path, 4000, rank) for rank in (0, 1)]
    others = [touch(tmp_path, 4001, 0), touch(tmp_path, 4000, 0, uid=os.getuid() + 1), touch(tmp_path, 4000, 2)]
    assert unlink_segments(4000, 2, tmp_path) == 2
    assert not any(path.exists() for path in mine)
    assert all(path.exists() for path in others)


def test_segments_that_nobody_maps_are_abandoned_once_they_are_old() -> None:
    abandoned, young, mapped = (touch(SHM, 1, rank) for rank in (970, 971, 972))
    try:
        for path in (abandoned, mapped):
            os.utime(path, OLD)
        with mapped.open("r+b") as file, mmap.mmap(file.fileno(), 4096):
            os.utime(mapped, OLD)
            assert unlink_abandoned() >= 1
        assert (abandoned.exists(), young.exists(), mapped.exists()) == (False, True, True)
    finally:
        for path in (abandoned, young, mapped):
            path.unlink(missing_ok=True)
