"""python -m server.engine.bench.loading: how long a group takes to load a model, and what each rank's memory peaks at.

Compares ranks that read their own files of a packaged folder with ranks that each run transformers' `from_pretrained`
on the checkpoint and DeepSpeed's `init_inference`. Ranks are processes that have already imported everything and
joined their group; the page cache is warm for both ways, and every page of every parameter is touched. What a start
takes besides to compare its files with their checksums, which the other way never does, stands beside it. Prints JSON.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from server.machine import machine_facts
from server.ports import free_loopback_port

WAYS = ("packaged", "from_pretrained")
_SAMPLE_S = 0.01


def main() -> int:
    """Package the checkpoint if need be, time both ways, print the comparison."""
    arguments = _parser().parse_args()
    if arguments.rank is not None:
        return _run_rank(arguments)
    results: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory(prefix="load-bench-") as scratch:
        packaged = arguments.packaged or _package(arguments, Path(scratch))
        share = _share_bytes(packaged, arguments.tensor_parallel_degree)
        for _ in range(arguments.repeat):
            for way, folder in zip(WAYS, (packaged, arguments.model), strict=True):
                results.append({"way": way, "ranks": _run_group(arguments, way, folder)})
    print(json.dumps(_summary(results, share, arguments), indent=1))
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m server.engine.bench.loading", description=__doc__)
    parser.add_argument("--model", type=Path, required=True, help="the checkpoint folder")
    parser.add_argument("--packaged", type=Path, help="its packaged folder (default: packaged for this run)")
    parser.add_argument("--tensor-parallel-degree", type=int, default=2, help="ranks (default: %(default)s)")
    parser.add_argument("--dtype", choices=("bfloat16", "float32"), default="bfloat16")
    parser.add_argument("--repeat", type=int, default=1, help="runs of each way, in turn (default: %(default)s)")
    parser.add_argument("--rank", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--way", choices=WAYS, help=argparse.SUPPRESS)
    return parser


def _package(arguments: argparse.Namespace, scratch: Path) -> Path:
    os.environ.setdefault("DS_ACCELERATOR", "cpu")
    from server.engine.package.packager import PackageJob, write_package

    out = scratch / "packaged"
    job = PackageJob(
        arguments.model, out, arguments.tensor_parallel_degree, dtype=arguments.dtype, source_name=arguments.model.name
    )
    write_package(job)
    return out


def _share_bytes(packaged: Path, world: int) -> int:
    from server.engine.weights.manifest import read_manifest
    from server.engine.weights.sources import COMMON_FILE, WeightsError, rank_file

    degree = read_manifest(packaged).tensor_parallel_degree
    if degree != world:
        raise WeightsError(f"--packaged {packaged} is for degree {degree}, --tensor-parallel-degree is {world}")
    return max(
        (packaged / COMMON_FILE).stat().st_size + (packaged / rank_file(rank)).stat().st_size for rank in range(world)
    )


def _run_group(arguments: argparse.Namespace, way: str, folder: Path) -> list[dict[str, float]]:
    degree = arguments.tensor_parallel_degree
    environ = {**os.environ, "MASTER_PORT": str(free_loopback_port()), "DS_ACCELERATOR": "cpu", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "server.engine.bench.loading", "--model", str(folder), "--way", way]
    command += ["--tensor-parallel-degree", str(degree), "--dtype", arguments.dtype, "--rank"]
    ranks = [
        subprocess.Popen(
            [*command, str(rank)], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=environ
        )
        for rank in range(degree)
    ]
    answers = [each.communicate()[0] for each in ranks]
    if any(each.returncode for each in ranks):
        raise RuntimeError(f"{way}: a rank failed with status {[each.returncode for each in ranks]}")
    return [json.loads(answer.splitlines()[-1]) for answer in answers]


def _run_rank(arguments: argparse.Namespace) -> int:
    import torch
    from torch import distributed as dist

    from server.engine.parallel.group import Rank, join
    from server.engine.weights.load import read_config, shard_on_meta

    # Imports the model's code, which both ways need and neither is charged with.
    shard_on_meta(read_config(arguments.model), Rank(0, 1, torch.device("cpu")))
    dtype = getattr(torch, arguments.dtype)
    load = _load_packaged if arguments.way == "packaged" else _load_from_pretrained
    place = join(arguments.rank, arguments.tensor_parallel_degree, 0, device=torch.device("cpu"))
    floor, sampler = _private_bytes(), _PeakSampler()
    dist.barrier()
    started = time.monotonic()
    model = load(arguments.model, place, dtype)
    _touch(model)
    mine = time.monotonic() - started
    dist.barrier()
    group = time.monotonic() - started
    peak = sampler.stop()
    figures = {"rank_s": mine, "group_s": group, "peak_private_bytes": peak - floor, "floor_bytes": floor}
    if arguments.way == "packaged":
        figures["checksum_s"] = _checksum_seconds(arguments.model, arguments.rank)
    print(json.dumps(figures))
    return 0


def _checksum_seconds(folder: Path, rank: int) -> float:
    from server.engine.weights.manifest import check_file, read_manifest

    started = time.monotonic()
    manifest = read_manifest(folder)
    for file in manifest.files_of(rank):
        check_file(folder, file, manifest.files[file])
    return time.monotonic() - started


def _load_packaged(folder: Path, place: Any, dtype: Any) -> Any:
    from server.engine.weights.load import load_model

    return load_model(folder, place, dtype)


def _load_from_pretrained(folder: Path, place: Any, dtype: Any) -> Any:
    import deepspeed
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(folder, dtype=dtype)
    tensor_parallel = {"tp_size": place.world}
    return deepspeed.init_inference(
        model, dtype=dtype, tensor_parallel=tensor_parallel, replace_with_kernel_inject=False
    ).module


def _touch(model: Any) -> None:
    """Read something of every page of every parameter, so that a mapping that was never read counts as not loaded."""
    for parameter in model.parameters():
        flat = parameter.detach().reshape(-1)
        flat[:: 4096 // flat.element_size()].sum()


class _PeakSampler:
    """The largest private memory of this process, looked at every 10 ms on a thread."""

    def __init__(self) -> None:
        self._peak = _private_bytes()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._sample, daemon=True)
        self._thread.start()

    def stop(self) -> int:
        """Bytes at the peak."""
        self._stopping.set()
        self._thread.join()
        return max(self._peak, _private_bytes())

    def _sample(self) -> None:
        while not self._stopping.wait(_SAMPLE_S):
            self._peak = max(self._peak, _private_bytes())


def _private_bytes() -> int:
    """Anonymous memory of this process: what no other process shares and the kernel cannot drop."""
    for line in Path("/proc/self/status").read_text("ascii").splitlines():
        if line.startswith("RssAnon:"):
            return int(line.split()[1]) * 1024
    raise RuntimeError("/proc/self/status has no RssAnon; this bench needs Linux")


def _summary(results: list[dict[str, Any]], share: int, arguments: argparse.Namespace) -> dict[str, Any]:
    def best(way: str, of: Callable[[list[dict[str, float]]], float]) -> float:
        return min(of(each["ranks"]) for each in results if each["way"] == way)

    seconds = {way: best(way, lambda ranks: max(rank["group_s"] for rank in ranks)) for way in WAYS}
    peaks = {way: best(way, lambda ranks: max(rank["peak_private_bytes"] for rank in ranks)) for way in WAYS}
    return {
        "seconds": seconds,
        "checksum_s": best("packaged", lambda ranks: max(rank["checksum_s"] for rank in ranks)),
        "times_faster": seconds["from_pretrained"] / seconds["packaged"],
        "share_bytes": share,
        "peak_private_bytes": peaks,
        "peak_over_share": {way: peak / share for way, peak in peaks.items()},
        "results": results,
        "tensor_parallel_degree": arguments.tensor_parallel_degree,
        "dtype": arguments.dtype,
        "machine": machine_facts(),
        "command": " ".join(["python -m server.engine.bench.loading", *sys.argv[1:]]),
    }


if __name__ == "__main__":
    sys.exit(main())
