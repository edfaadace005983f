"""What the server itself counts, as its /metrics say: phases during a run, and memory."""

from __future__ import annotations

import re
import urllib.error
import urllib.request

_SAMPLE = re.compile(r'^ock_phase_seconds_(sum|count)\{phase="(\w+)"\} (\S+)$', re.MULTILINE)
_RESIDENT = re.compile(r"^(?:process|ock_rank)_resident_memory_bytes(?:\{[^}]*\})? (\S+)$", re.MULTILINE)
_TIMEOUT_S = 5.0


def look(url: str) -> dict[tuple[str, str], float]:
    """Sums and counts by phase; nothing from a server that has no such metrics."""
    return {(kind, phase): float(value) for kind, phase, value in _SAMPLE.findall(_metrics(url))}


def resident_bytes(url: str) -> int:
    """Memory of the front and of all ranks together; 0 from a server that does not tell."""
    return round(sum(map(float, _RESIDENT.findall(_metrics(url)))))


def _metrics(url: str) -> str:
    address = f"{url.rstrip('/').removesuffix('/v1')}/metrics"
    try:
        with urllib.request.urlopen(address, timeout=_TIMEOUT_S) as response:  # noqa: S310 - the user's own address
            return str(response.read().decode("utf-8", "replace"))
    except (OSError, urllib.error.URLError, ValueError):
        return ""


def mean_ms(before: dict[tuple[str, str], float], after: dict[tuple[str, str], float]) -> dict[str, float]:
    """Mean milliseconds of each phase between the two looks."""
    gone = {key: value - before.get(key, 0.0) for key, value in after.items()}
    phases = sorted({phase for _, phase in gone})
    return {
        phase: round(1000 * gone["sum", phase] / gone["count", phase], 3)
        for phase in phases
        if gone.get(("count", phase), 0) > 0
    }
