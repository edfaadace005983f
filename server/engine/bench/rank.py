"""One rank of a benchmark: the engine as it serves, with rank 0 driven in its own process, not over the socket."""

from __future__ import annotations

import argparse
import os
import resource
import sys
import time
from pathlib import Path

import msgspec
import torch
from torch import distributed as dist

from server.config import from_env
from server.dtypes import DTYPES, Dtype
from server.engine.bench.driver import Driver, Recorder, TimedRunner, Work, best_of
from server.engine.bench.quoting import QuotingRunner
from server.engine.cpu.native_library import open_library
from server.engine.parallel.processor import processor_level
from server.engine.rank.liveness import end_process
from server.engine.rank.serve import Serving
from server.engine.rank.step_channel import StepSender
from server.engine.schedule.sequence import CHAT

_READ_BYTES = 768 << 20  # a rank's buffer: far more than a share of the last-level cache
_GPU_READS = 5


class BenchedServing(Serving):
    """The serving rank, timed."""

    def bench(self, work: Work) -> dict[str, object] | None:
        """Do the work; on rank 0 its figures."""
        if not self._rank.leads:
            self._follow()
            self._measure_machine()
            return None
        quoting = QuotingRunner(self._runner) if work.quotes else None
        timed = TimedRunner(quoting or self._runner, self._rank.device)
        self._runner = timed  # type: ignore[assignment]
        followers = StepSender(self._settings.run_dir, self._attempt, self.world)
        try:
            driver = self._driver(followers, timed, drafts=True)
            driver.quoting = quoting
            start_s = driver.first_token(work)
            other = self._driver(followers, timed, drafts=work.beside != "undrafted") if work.beside else None
            if other is not None:
                other.quoting = quoting
            results = [_told(_timed(driver, other, batch, work=work)) for batch in work.batches]
            driver.quoting = None
            reuse = driver.second_turn(self._models[CHAT].window, work)
        finally:
            followers.close()
        return {
            **self._measure_machine(),
            "results": results,
            "device": _device_name(self._rank.device),
            "start_to_first_token_s": start_s,
            "second_turn": reuse,
            "weight_bytes_per_token": self._models[CHAT].runner.weight_bytes * self.world,
            "products_per_token": self._models[CHAT].runner.num_weights * self.world,
        }

    def _driver(self, followers: StepSender, timed: TimedRunner, *, drafts: bool) -> Driver:
        recorder = Recorder()
        leader = self._leader(followers, recorder, drafts=drafts)
        return Driver(leader, recorder, timed, vocab_size=self._models[CHAT].shape.vocab_size)

    def _measure_machine(self) -> dict[str, float | None]:
        """Over all ranks: peak memory so far, and then what the machine allows, whose buffers must not count."""
        device = self._rank.device
        measured = _measure_gpu(device) if device.type == "cuda" else _measure_cpu(DTYPES[self._settings.dtype])
        totals = torch.tensor(measured, dtype=torch.float64, device=device)
        dist.all_reduce(totals)
        peak, bandwidth, products = totals.tolist()
        return {
            "peak_memory_bytes": int(peak),
            "read_bandwidth_bytes_per_s": bandwidth,
            "products_per_s": products or None,
        }


def _timed(driver: Driver, other: Driver | None, batch: int, work: Work) -> dict[str, float]:
    """The best of some runs; with `other` in turns with it, and how they compare."""
    other_work = work.greedy if work.beside == "greedy" else work
    runs: list[dict[str, float]] = []
    others: list[dict[str, float]] = []
    for _ in range(work.repeats):
        runs.append(driver.run(batch, work))
        if other is not None:
            others.append(other.run(batch, other_work))
    if other is None:
        return best_of(runs)
    best, other_best = best_of(runs), best_of(others)
    compared = {"decode_tokens_per_s": "over", "decode_tokens_per_cpu_s": "cpu_over"}  # the latter on a busy machine
    for name, ratio in compared.items():
        best[f"{work.beside}_{name}"] = other_best[name]
        best[f"{ratio}_{work.beside}"] = best[name] / other_best[name]
    return best


def _told(result: dict[str, float]) -> dict[str, float]:
    """The result, said at once: a long measurement may be cut short."""
    sys.stderr.write(f"{msgspec.json.encode(result).decode()}\n")
    return result


def _device_name(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"


def _measure_cpu(dtype: Dtype) -> tuple[float, float, float]:
    """Peak bytes, bytes a second, and products a second where the native kernels do them, else 0."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    level = processor_level()
    library = open_library(level)
    products = library.product_rate(dtype.kind, level) if dtype.compute == "bfloat16" else 0.0
    return peak, library.read_bandwidth(_READ_BYTES), products


def _measure_gpu(device: torch.device) -> tuple[float, float, float]:
    """Peak bytes that torch took on the device, and bytes a second of summing a large tensor: the best of some."""
    peak = torch.cuda.max_memory_allocated(device)
    values = torch.ones(_READ_BYTES // 4, device=device)
    seconds = []
    for _ in range(_GPU_READS):
        torch.cuda.synchronize(device)
        started = time.perf_counter()
        values.sum()
        torch.cuda.synchronize(device)
        seconds.append(time.perf_counter() - started)
    return peak, _READ_BYTES / min(seconds), 0.0


def main() -> int:
    """Run one rank; rank 0 writes its figures to the file named by --json."""
    parser = argparse.ArgumentParser(prog="python -m server.engine.bench.rank", description="One rank of a benchmark.")
    parser.add_argument("--rank", type=int, required=True)
    parser.add_argument("--work", required=True, help="JSON of bench_driver.Work")
    parser.add_argument("--json", type=Path, required=True)
    arguments = parser.parse_args()
    settings = from_env(os.environ)
    settings.run_dir.mkdir(parents=True, exist_ok=True)
    serving = BenchedServing.start(settings, arguments.rank, attempt=0)
    assert isinstance(serving, BenchedServing), serving
    try:
        figures = serving.bench(msgspec.json.decode(arguments.work, type=Work))
    except RuntimeError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    if figures is not None:
        arguments.json.write_bytes(msgspec.json.encode(figures))
    return 0


if __name__ == "__main__":
    end_process(main())
