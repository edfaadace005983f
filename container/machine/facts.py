"""What this container may use of the machine: cores, memory, shared memory, GPUs. Nothing here imports torch."""

from __future__ import annotations

import importlib.metadata
import shutil
import subprocess
from dataclasses import dataclass

from container.machine.cpu_quota import num_cores
from container.machine.shared_memory import SHM
from server.memory import memory_bytes

MIB = 2**20


@dataclass(frozen=True)
class Gpu:
    """One GPU as the driver names it."""

    name: str
    memory_bytes: int
    driver: str

    @property
    def driver_branch(self) -> int | None:
        """The driver's first number, as in 580.95.05; None when the driver does not say."""
        branch = self.driver.partition(".")[0]
        return int(branch) if branch.isdigit() else None


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
    return Machine(num_cores(), memory_bytes(), disk.free if disk else 0, gpus=_gpus())


def torch_is_cpu_only() -> bool:
    """Whether the installed torch was built without CUDA; its version says so."""
    try:
        return importlib.metadata.version("torch").endswith("+cpu")
    except importlib.metadata.PackageNotFoundError:
        return False


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
