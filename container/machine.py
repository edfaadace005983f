"""What this container may use of the machine: cores, memory, shared memory, GPUs. Nothing here imports torch."""

from __future__ import annotations

import importlib.metadata
import math
import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from container.segments import SHM

MIB = 2**20
_CGROUP = Path("/sys/fs/cgroup")


@dataclass(frozen=True)
class Gpu:
    """One GPU as the driver names it."""

    name: str
    memory_bytes: int
    driver: str


@dataclass(frozen=True)
class Machine:
    """The limits of this container; sizes in bytes."""

    num_cores: int
    memory_bytes: int
    shm_bytes: int
    gpus: tuple[Gpu, ...]

    def device(self, wanted: str) -> str:
        """The device that OCK_DEVICE=`wanted` (auto, cpu or cuda) comes to."""
        if wanted != "auto":
            return wanted
        return "cuda" if self.gpus and not torch_is_cpu_only() else "cpu"


def look_at_machine() -> Machine:
    """The machine as it is now."""
    disk = shutil.disk_usage(SHM) if SHM.is_dir() else None
    return Machine(_num_cores(_CGROUP), _memory_bytes(_CGROUP), disk.free if disk else 0, _gpus())


def torch_is_cpu_only() -> bool:
    """Whether the installed torch was built without CUDA; its version says so."""
    try:
        return importlib.metadata.version("torch").endswith("+cpu")
    except importlib.metadata.PackageNotFoundError:
        return False


def _num_cores(cgroup: Path) -> int:
    cores = len(os.sched_getaffinity(0))
    quota, _, period = _first_line(cgroup / "cpu.max").partition(" ")
    if quota.isdigit() and period.isdigit():
        return max(1, min(cores, math.floor(int(quota) / int(period))))
    return cores


def _memory_bytes(cgroup: Path) -> int:
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    limit = _first_line(cgroup / "memory.max")
    return min(total, int(limit)) if limit.isdigit() else total


def _first_line(path: Path) -> str:
    try:
        return path.read_text().partition("\n")[0].strip()
    except OSError:
        return ""


def _gpus() -> tuple[Gpu, ...]:
    program = shutil.which("nvidia-smi")
    if program is None:
        return ()
    query = [program, "--query-gpu=name,memory.total,driver_version", "--format=csv,noheader,nounits"]
    try:
        found = subprocess.run(query, capture_output=True, text=True, timeout=60, check=True)
    except (subprocess.SubprocessError, OSError):
        return ()  # a driver is installed and no GPU is handed to this container
    return tuple(_gpu(line) for line in found.stdout.splitlines() if line.count(",") == 2)


def _gpu(line: str) -> Gpu:
    name, mebibytes, driver = (part.strip() for part in line.split(","))
    return Gpu(name, int(mebibytes) * MIB, driver)
