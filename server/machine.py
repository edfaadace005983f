"""What a measurement says of the machine it was taken on."""

from __future__ import annotations

import os
import platform
from pathlib import Path
from typing import Any


def machine_facts() -> dict[str, Any]:
    """Processor, cores, memory in KiB (None where the system does not tell), system and Python."""
    memory = _line("/proc/meminfo", "MemTotal")
    return {
        "cpu": processor(),
        "cores": os.cpu_count(),
        "memory_kib": int(memory.split()[0]) if memory else None,
        "system": platform.platform(),
        "python": platform.python_version(),
    }


def processor() -> str:
    """The processor's own name, or its architecture."""
    return _line("/proc/cpuinfo", "model name") or platform.processor() or platform.machine()


def _line(path: str, name: str) -> str:
    """What stands behind the first "name:" in the file; "" without one."""
    lines = Path(path).read_text("utf-8").splitlines() if Path(path).exists() else []
    return next((line.partition(":")[2].strip() for line in lines if line.startswith(name)), "")
