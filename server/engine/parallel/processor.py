"""What this machine's processor offers to the native kernels."""

from __future__ import annotations

import ctypes
import platform
from enum import IntEnum
from functools import cache
from pathlib import Path


class Level(IntEnum):
    """Vector instructions, in rising order; every level includes the ones before it. As in native/lanes.h."""

    NONE = 0
    AVX2 = 1
    VNNI = 2
    BF16 = 3
    AMX = 4


# The names that Linux gives them.
_NEEDED = {
    Level.AVX2: {"avx2", "fma"},
    Level.VNNI: {"avx512f", "avx512bw", "avx512vl", "avx512dq", "avx512_vnni"},
    Level.BF16: {"avx512_bf16"},
    Level.AMX: {"amx_tile", "amx_bf16", "amx_int8"},
}
_SYS_ARCH_PRCTL, _REQUEST_PERMISSION, _TILE_DATA = 158, 0x1023, 18


@cache
def processor_level() -> Level:
    """The highest level that this processor and the system let this process use."""
    if platform.machine() not in ("x86_64", "AMD64"):
        return Level.NONE
    level = level_of(_flags())
    if level is Level.AMX and not _tiles_granted():
        return Level.BF16
    return level


def level_of(flags: set[str]) -> Level:
    """The highest level whose instructions, and those of all levels below it, are among `flags`."""
    reached = Level.NONE
    for level, needed in _NEEDED.items():
        if not needed <= flags:
            break
        reached = level
    return reached


def _flags() -> set[str]:
    for line in Path("/proc/cpuinfo").read_text("utf-8").splitlines():
        name, _, value = line.partition(":")
        if name.strip() == "flags":
            return set(value.split())
    return set()


def _tiles_granted() -> bool:
    """Whether the system lets this process use tile registers; Linux grants them on request."""
    return ctypes.CDLL(None).syscall(_SYS_ARCH_PRCTL, _REQUEST_PERMISSION, _TILE_DATA) == 0
