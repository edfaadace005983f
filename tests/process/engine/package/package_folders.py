"""Small checkpoints, their packages for two ranks, and groups that are meant not to start."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import load_file
from transformers import PreTrainedModel

from server.engine.package.packager import PackageJob, write_package
from server.engine.weights.manifest import Manifest
from tests import ROOT
from tests.process.engine.small_models import make

DEADLINE_S = 240.0


@dataclass(frozen=True)
class Packaged:
    """A checkpoint, its package, and the model itself."""

    source: Path
    folder: Path
    manifest: Manifest
    model: PreTrainedModel


def package_small(kind: str, folder: Path) -> Packaged:
    """The small model of `kind` in two ranks' files, as float32."""
    model = make(kind, folder / "source")
    job = job_for(folder / "source", folder / "packaged")
    return Packaged(job.source, job.out, write_package(job), model)


def job_for(source: Path, out: Path, dtype: str = "float32", adapters: tuple[Path, ...] = ()) -> PackageJob:
    return PackageJob(source, out, 2, dtype, "small", "0123abc", adapters)


def tensors_of(folder: Path, degree: int = 2) -> dict[str, list[torch.Tensor]]:
    """Every packaged tensor by name: the shares of all ranks, or the one that all have."""
    found: dict[str, list[torch.Tensor]] = {}
    for name in ("common", *(f"rank-{rank}" for rank in range(degree))):
        for key, tensor in load_file(folder / f"{name}.safetensors").items():
            found.setdefault(key, []).append(tensor)
    return found


def start_in_vain(folder: Path, run_dir: Path) -> list[tuple[int, str]]:
    """Start two ranks over `folder`; exit status and output of each. Ends what has not ended with the first."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    environ = {
        **{name: value for name, value in os.environ.items() if not name.startswith("OCK_")},
        "OCK_CHAT_MODEL": str(folder),
        "OCK_TENSOR_PARALLEL_DEGREE": "2",
        "OCK_DTYPE": "float32",
        "OCK_KV_CACHE_TOKENS": "512",
        "OCK_RUN_DIR": str(run_dir),
        "OCK_DEVICE": "cpu",
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": port,
        "WORLD_SIZE": "2",
        "OMP_NUM_THREADS": "1",
    }
    command = [sys.executable, "-m", "server.engine.rank", "--rank"]
    piped = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    ranks = [subprocess.Popen([*command, str(rank)], cwd=ROOT, env=environ, **piped) for rank in range(2)]
    try:
        outputs = [rank.communicate(timeout=DEADLINE_S)[0] for rank in ranks]
    finally:
        for rank in ranks:
            rank.kill()
        for left in Path("/dev/shm").glob(f"*_{port}_*"):
            left.unlink()
    return [(rank.returncode, output) for rank, output in zip(ranks, outputs, strict=True)]
