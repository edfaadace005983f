"""Where a measurement was taken."""

from __future__ import annotations

import os
import time
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from server.machine import machine_facts

_PACKAGES = ("faiss-cpu", "faiss-gpu", "numpy", "pyarrow", "sentence-transformers", "torch", "transformers")


def bench_facts() -> dict[str, object]:
    """The machine, how busy it was, versions, time."""
    return {
        **machine_facts(),
        "load_before": [round(load, 2) for load in os.getloadavg()],
        "versions": {name: found for name in _PACKAGES if (found := _version(name))},
        "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }


def resident_mib() -> float:
    """Resident memory of this process now."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
