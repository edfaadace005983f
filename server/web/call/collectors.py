"""Metrics that are read when Prometheus asks: the engine group's last status, and the processes of its ranks."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from server.chat.services import Services

_RANK = re.compile(r"server\.engine\.rank.*--rank[ =](\d+)(?:.*--group[ =](\d+))?")
_PROC = Path("/proc")
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
_TICKS_PER_S = os.sysconf("SC_CLK_TCK")


class EngineCollector(Collector):
    """The engine group's last status, read when Prometheus asks."""

    _GAUGES = (
        ("running", "num_running", "Sequences in the running batch."),
        ("waiting", "num_waiting", "Requests in the queue."),
        ("waiting_tokens", "num_waiting_tokens", "Prompt tokens in the queue."),
        ("step_seconds", "step_seconds", "Duration of the last step."),
        ("reply_interval_seconds", "reply_interval_s", "From the end of a reply to the next while as many run as may."),
    )
    _COUNTERS = (
        ("steps", "steps", "Forward passes of the group."),
        ("preemptions", "preemptions", "Sequences that lost their blocks."),
        ("generated_tokens", "generated_tokens", "Tokens decoded."),
        ("prefilled_tokens", "prefilled_tokens", "Prompt tokens computed."),
        ("cached_tokens", "cached_tokens", "Prompt tokens whose keys and values were reused."),
        ("drafted_tokens", "drafted_tokens", "Tokens guessed ahead by prompt lookup."),
        ("accepted_tokens", "accepted_tokens", "Of the guessed tokens, those that the model would have said, too."),
        ("nonfinite_requests", "nonfinite_requests", "Requests that ended because their numbers were not finite."),
    )

    def __init__(self, services: Services) -> None:
        self._engine = services.engine

    def collect(self) -> Iterator[GaugeMetricFamily | CounterMetricFamily]:
        """Its last status; before the first, that it is not ready."""
        engine = self._engine
        yield GaugeMetricFamily("ock_engine_ready", "1 while a group serves.", value=float(engine.ready))
        yield _by_group("ock_engine_group_ready", "1 while this group serves.", [each.ready for each in engine.groups])
        statuses = [each.status for each in engine.groups]
        requests = [0 if each is None else each.num_running + each.num_waiting for each in statuses]
        yield _by_group("ock_engine_group_requests", "Requests in this group, running and waiting.", requests)
        status = engine.status
        if status is None:
            return
        yield GaugeMetricFamily("ock_engine_status_age_seconds", "Since the last status.", value=engine.status_age_s)
        for name, attribute, text in self._GAUGES:
            yield GaugeMetricFamily(f"ock_engine_{name}", text, value=getattr(status, attribute))
        for name, attribute, text in self._COUNTERS:
            yield CounterMetricFamily(f"ock_engine_{name}", text, value=getattr(status, attribute))
        yield _by_model("ock_engine_free_blocks", "Blocks nobody holds.", status.free_blocks)
        yield _by_model("ock_engine_total_blocks", "Blocks of keys and values.", status.total_blocks)


def _by_group(name: str, text: str, values: Sequence[float]) -> GaugeMetricFamily:
    family = GaugeMetricFamily(name, text, labels=["group"])
    for number, value in enumerate(values):
        family.add_metric([str(number)], float(value))
    return family


def _by_model(name: str, text: str, values: dict[str, int]) -> GaugeMetricFamily:
    family = GaugeMetricFamily(name, text, labels=["model"])
    for model, value in values.items():
        family.add_metric([model], value)
    return family


class RankCollector(Collector):
    """Memory and processor time of the ranks that the same supervisor started."""

    def collect(self) -> Iterator[GaugeMetricFamily | CounterMetricFamily]:
        """One sample a rank."""
        memory = GaugeMetricFamily("ock_rank_resident_memory_bytes", "Resident memory of a rank.", labels=["rank"])
        cpu = CounterMetricFamily("ock_rank_cpu_seconds", "Processor time of a rank.", labels=["rank"])
        for rank, fields in _rank_processes():
            memory.add_metric([rank], int(fields[21]) * _PAGE_BYTES)
            cpu.add_metric([rank], (int(fields[11]) + int(fields[12])) / _TICKS_PER_S)
        yield memory
        yield cpu


def _rank_processes() -> Iterator[tuple[str, list[str]]]:
    """Each rank with its fields of /proc/PID/stat behind the name, [0] the state, [1] the parent (proc(5))."""
    above = _ancestors()
    for folder in _PROC.glob("[0-9]*"):
        try:
            found = _RANK.search((folder / "cmdline").read_bytes().replace(b"\0", b" ").decode("utf-8", "replace"))
            fields = _stat(folder) if found else []
        except OSError:  # it has ended
            continue
        if found and int(fields[1]) in above:
            yield found[1] if found[2] is None else f"{found[2]}.{found[1]}", fields


def _ancestors() -> set[int]:
    above, process = set(), os.getppid()
    while process > 0:
        above.add(process)
        try:
            process = int(_stat(_PROC / str(process))[1])
        except OSError:
            break
    return above


def _stat(folder: Path) -> list[str]:
    return (folder / "stat").read_text("utf-8").rpartition(")")[2].split()
