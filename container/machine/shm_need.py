"""How much of /dev/shm a group takes, one figure for `plan` and preflight."""

from __future__ import annotations

from container.machine.facts import MIB
from container.machine.segments import SEGMENT_BYTES

# NCCL gives each pair of GPUs buffers there where they have no NVLink; with less it is told to do without.
NCCL_SHM_BYTES = 512 * MIB


def shm_need(world: int, device: str) -> int:
    """Bytes for `world` ranks on `device` (cpu or cuda); a rank alone passes nothing on."""
    if world == 1:
        return 0
    return world * SEGMENT_BYTES if device == "cpu" else NCCL_SHM_BYTES
