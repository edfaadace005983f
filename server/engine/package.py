"""Writes a packaged model folder: each rank's own tensors, the ones all share, and a manifest that proves them.

Files first, the manifest last: a folder without one is not opened. A run that was killed goes on where it stopped,
since each finished file is recorded with its checksum; a run over a finished folder of the same source does nothing.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import torch
from torch import Tensor

from server.engine.cut_plan import ParameterPlan, plan_cuts
from server.engine.golden import Golden, compute_golden
from server.engine.group import Rank
from server.engine.load import read_config, shard_on_meta, tied_parameters
from server.engine.safetensors_writer import SafetensorsWriter, TensorSpec
from server.engine.weights import COMMON_FILE, MANIFEST, PlainCheckpoint, cast, is_packaged, rank_file

Progress = Callable[[str, int, int], None]  # file, bytes done, bytes in all


def _silent(_name: str, _done: int, _total: int) -> None:
    """No progress shown."""


_PROGRESS_FILE = "package.progress.json"
_CARRIED = (
    "config.json",
    "generation_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
)
_DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


class PackageError(ValueError):
    """A source or target that cannot be packaged; the sentence names it."""


@dataclass(frozen=True)
class PackageJob:
    """What to package and how. `source_name` and `revision` are what the manifest says of the origin."""

    source: Path
    out: Path
    degree: int
    dtype: str
    source_name: str
    revision: str = ""


def write_package(
    job: PackageJob, golden: Callable[[Path, PlainCheckpoint], Golden] = compute_golden, progress: Progress = _silent
) -> dict[str, Any]:
    """Package `job.source` into `job.out`; the manifest. `golden` computes the reference data.

    Peak memory is that of the largest tensor, in float32 where the reference runs.

    Raises:
        PackageError: the source is packaged already, or the target holds another package.
        WeightsError: the source cannot be read, or not be cut for the degree.
    """
    if is_packaged(job.source):
        raise PackageError(f"{job.source} is packaged already; give the checkpoint it was made from")
    wanted = _identity(job)
    if (finished := _finished(job.out, wanted)) is not None:
        return finished
    job.out.mkdir(parents=True, exist_ok=True)
    plans = plan_cuts(job.source, job.degree)
    source = PlainCheckpoint(job.source, _tied(job.source))
    record = _Record(job.out, wanted)
    for name, specs, share in _files(job, plans):
        if not record.has(name):
            record.add(name, _write_file(job, source, name, specs, share, progress))
    for name in _CARRIED:
        if (job.source / name).is_file():
            shutil.copyfile(job.source / name, job.out / name)
            record.add(name, _sha256(job.out / name))
    manifest = {**wanted, "files": record.files, "golden": msgspec.to_builtins(golden(job.source, source))}
    _replace(job.out / MANIFEST, json.dumps(manifest, indent=1))
    record.forget()
    return manifest


@dataclass(frozen=True)
class _Share:
    """A tensor of one file: which parameter, and which rank's part of it."""

    plan: ParameterPlan
    rank: int


def _files(
    job: PackageJob, plans: dict[str, ParameterPlan]
) -> Iterable[tuple[str, list[TensorSpec], dict[str, _Share]]]:
    dtype = _DTYPES[job.dtype]
    whole = {name: _Share(plan, 0) for name, plan in plans.items() if plan.dim is None}
    yield COMMON_FILE, [TensorSpec(name, share.plan.shape, dtype) for name, share in whole.items()], whole
    for rank in range(job.degree):
        cut = {name: _Share(plan, rank) for name, plan in plans.items() if plan.dim is not None}
        specs = [TensorSpec(name, _shape(share), dtype) for name, share in cut.items()]
        yield rank_file(rank), specs, cut


def _shape(share: _Share) -> tuple[int, ...]:
    shape = list(share.plan.shape)
    assert share.plan.dim is not None
    shape[share.plan.dim] = share.plan.sizes[share.rank]
    return tuple(shape)


def _write_file(
    job: PackageJob,
    source: PlainCheckpoint,
    name: str,
    specs: list[TensorSpec],
    shares: dict[str, _Share],
    progress: Progress,
) -> str:
    total, done = sum(spec.num_bytes for spec in specs), 0
    with SafetensorsWriter(job.out / name, specs) as writer:
        for spec in specs:
            share = shares[spec.name]
            tensor: Tensor = source.tensor(spec.name, share.plan.cut(share.rank))
            writer.add(cast(tensor, spec.dtype, torch.device("cpu")))
            done += spec.num_bytes
            progress(name, done, total)
    return writer.sha256


class _Record:
    """Which files are finished, with their checksums, kept beside them until the manifest is written."""

    def __init__(self, folder: Path, identity: dict[str, Any]) -> None:
        self._folder = folder
        self._path = folder / _PROGRESS_FILE
        self._identity = identity
        self.files: dict[str, str] = {}
        if self._path.is_file():
            known = json.loads(self._path.read_text("utf-8"))
            if known["identity"] == identity:
                self.files = known["files"]

    def has(self, name: str) -> bool:
        """Whether `name` is there, whole."""
        path = self._folder / name
        return name in self.files and path.is_file() and _sha256(path) == self.files[name]

    def add(self, name: str, sha256: str) -> None:
        """`name` is finished."""
        self.files[name] = sha256
        _replace(self._path, json.dumps({"identity": self._identity, "files": self.files}))

    def forget(self) -> None:
        """The manifest takes over."""
        self._path.unlink(missing_ok=True)


def _identity(job: PackageJob) -> dict[str, Any]:
    return {
        "format": 1,
        "source": job.source_name,
        "revision": job.revision,
        "dtype": job.dtype,
        "tensor_parallel_degree": job.degree,
        "source_sha256": _source_sha256(job.source),
    }


def _source_sha256(folder: Path) -> str:
    """One digest over names and contents of what is packaged."""
    digest = hashlib.sha256()
    for path in sorted([*folder.glob("*.safetensors"), *(folder / name for name in _CARRIED)]):
        if path.is_file():
            digest.update(f"{path.name}:{_sha256(path)}\n".encode())
    return digest.hexdigest()


def _finished(out: Path, wanted: dict[str, Any]) -> dict[str, Any] | None:
    path = out / MANIFEST
    if not path.is_file():
        return None
    manifest: dict[str, Any] = json.loads(path.read_text("utf-8"))
    if {key: manifest.get(key) for key in wanted} == wanted:
        return manifest
    raise PackageError(f"{out} holds a package of {manifest.get('source')!r} with other options; choose another folder")


def _tied(folder: Path) -> dict[str, str]:
    alone = Rank(0, 1, torch.device("cpu"))
    return tied_parameters(shard_on_meta(read_config(folder), alone))


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _replace(path: Path, text: str) -> None:
    part = path.with_name(f"{path.name}.part")
    part.write_text(text, "utf-8")
    part.replace(path)
