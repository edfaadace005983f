"""Writes a packaged model folder: each rank's own tensors, the ones all share, and a manifest that proves them.

Files first, the manifest last: a folder without one is not opened. A run that was killed goes on where it stopped,
since each finished file is recorded with its checksum; a run over a finished folder of the same source does nothing.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import torch
from msgspec import structs
from torch import Tensor
from transformers import AutoTokenizer

from server.artifacts.folder import MANIFEST, sha256_of
from server.dtypes import DTYPES, WeightKind
from server.engine.package.golden_reference import compute_golden
from server.engine.package.record import PackageRecord, replace_file
from server.engine.package.stored import PackagedWhole, parts_of, specs_of
from server.engine.parallel.group import Rank
from server.engine.weights.carried_files import CARRIED_FILES
from server.engine.weights.checkpoint_check import TOKENIZER, check_checkpoint, check_older_tokenizer
from server.engine.weights.checkpoint_files import CheckpointError, is_packaged
from server.engine.weights.cut_plan import ParameterPlan, plan_cuts
from server.engine.weights.golden import Golden
from server.engine.weights.load import read_config, refuse_unknown_tensors, shard_on_meta, tied_parameters
from server.engine.weights.lora import AdaptedCheckpoint, adapter_files, read_adapter
from server.engine.weights.manifest import Adapter, Identity, Manifest, encode_manifest, read_manifest
from server.engine.weights.safetensors_writer import SafetensorsWriter, TensorSpec
from server.engine.weights.source_checkpoint import SourceCheckpoint, WholeSource, checkpoint_files
from server.engine.weights.sources import COMMON_FILE, rank_file

Progress = Callable[[str, int, int], None]  # file, bytes done, bytes in all


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
    adapters: tuple[Path, ...] = ()  # folders of LoRA adapters, merged in this order


def silent(_name: str, _done: int, _total: int) -> None:
    """Shows no progress."""


def write_package(job: PackageJob, progress: Progress = silent) -> Manifest:
    """Package `job.source` into `job.out`; the manifest. Beyond the mapped files it needs the memory of one tensor.

    Raises:
        PackageError: the source is packaged already, a tensor does not fit the config or the dtype, or the target is
            full or holds another package.
        WeightsError: the source or an adapter cannot be read, or not be cut for the degree.
    """
    if is_packaged(job.source):
        raise PackageError(f"{job.source} is packaged already; give the checkpoint it was made from")
    try:
        check_checkpoint(job.source, older_tokenizer=True)
    except CheckpointError as error:
        raise PackageError(str(error)) from error
    source = _open_source(job)
    identity = _identity(job)
    if (job.out / MANIFEST).is_file():
        return _finished(job.out, identity)
    plans = plan_cuts(job.source, job.degree)
    _check_shapes(job.source, source, plans)
    job.out.mkdir(parents=True, exist_ok=True)
    record = PackageRecord(job.out, identity)
    files = [file for file in _files(plans, job) if not record.has(file.name)]
    _check_room(job.out, files)
    for file in files:
        record.add(file.name, _write_file(job.out / file.name, file, source, progress=progress))
    for name in CARRIED_FILES:
        if (job.source / name).is_file():
            shutil.copyfile(job.source / name, job.out / name)
            record.add(name, sha256_of(job.out / name))
    if not (job.out / TOKENIZER).is_file():
        write_tokenizer(job.source, job.out)
        record.add(TOKENIZER, sha256_of(job.out / TOKENIZER))
    golden = _golden(job, source, plans)
    manifest = Manifest(**structs.asdict(identity), files=dict(sorted(record.files.items())), golden=golden)
    replace_file(job.out / MANIFEST, encode_manifest(manifest))
    record.forget()
    return manifest


def write_tokenizer(source: Path, out: Path) -> None:
    """The tokenizer.json that `source` has only in an older form: vocab.json with merges.txt, or tokenizer.model.

    Raises:
        PackageError: no tokenizer is there, or one that has no fast form.
    """
    try:
        check_older_tokenizer(source)
        tokenizer = AutoTokenizer.from_pretrained(source, local_files_only=True, use_fast=True)
        tokenizer.backend_tokenizer.save(str(out / TOKENIZER))
    except (OSError, ValueError, ImportError, AttributeError, KeyError) as error:
        first = str(error).strip().partition("\n")[0]
        raise PackageError(f"{source}: no {TOKENIZER}, and none can be made of what is there ({first})") from error


@dataclass(frozen=True)
class _PlannedFile:
    """One file: its tensors in order, and which rank's part of each it holds."""

    name: str
    specs: dict[str, list[TensorSpec]]  # of each parameter
    plans: dict[str, ParameterPlan]
    rank: int

    @property
    def num_bytes(self) -> int:
        return sum(spec.num_bytes for specs in self.specs.values() for spec in specs)


def _files(plans: dict[str, ParameterPlan], job: PackageJob) -> Iterable[_PlannedFile]:
    whole = {name: plan for name, plan in plans.items() if plan.dim is None}
    cut = {name: plan for name, plan in plans.items() if plan.dim is not None}
    for name, rank, those in [(COMMON_FILE, 0, whole), *((rank_file(rank), rank, cut) for rank in range(job.degree))]:
        specs = {parameter: specs_of(parameter, plan, rank, dtype=job.dtype) for parameter, plan in those.items()}
        yield _PlannedFile(name, specs, those, rank=rank)


def _write_file(path: Path, file: _PlannedFile, source: WholeSource, progress: Progress) -> str:
    done = 0
    with SafetensorsWriter(path, [spec for specs in file.specs.values() for spec in specs]) as writer:
        for name, specs in file.specs.items():
            share = source.tensor(name, file.plans[name].cut(file.rank))
            for spec, part in zip(specs, parts_of(share, len(specs)), strict=True):
                writer.add(_narrowed(spec, part))
                done += spec.num_bytes
                progress(file.name, done, file.num_bytes)
    return writer.sha256


def _golden(job: PackageJob, source: WholeSource, plans: dict[str, ParameterPlan]) -> Golden:
    """What the source says; with weights of four bits what the package itself says, which its ranks can be held to."""
    if DTYPES[job.dtype].kind is not WeightKind.INT4:
        return compute_golden(job.source, source)
    golden = compute_golden(job.source, PackagedWhole(job.out, plans, job.degree))
    return structs.replace(golden, tolerances={**golden.tolerances, "int4": DTYPES["int8"].golden_tolerance})


def _narrowed(spec: TensorSpec, share: Tensor) -> Tensor:
    """`share` in the package's dtype, without a copy when it is in it already."""
    if share.numel() and spec.dtype is torch.float16 and share.dtype is not torch.float16:
        low, high = (float(each) for each in share.aminmax())
        most = torch.finfo(torch.float16).max
        if not (low >= -most and high <= most):
            raise PackageError(f"tensor {spec.name!r} goes from {low} to {high}, beyond float16; use --dtype bfloat16")
    return share.to(spec.dtype)


def _open_source(job: PackageJob) -> WholeSource:
    alone = Rank(0, 1, torch.device("cpu"))
    model = shard_on_meta(read_config(job.source), alone)
    checkpoint = SourceCheckpoint(job.source, tied_parameters(model))
    refuse_unknown_tensors(job.source, checkpoint.names, model)
    if not job.adapters:
        return checkpoint
    return AdaptedCheckpoint(checkpoint, [read_adapter(folder) for folder in job.adapters])


def _check_shapes(folder: Path, source: WholeSource, plans: dict[str, ParameterPlan]) -> None:
    for name, plan in plans.items():
        if source.shape(name) != plan.shape:
            raise PackageError(
                f"{folder}: tensor {name!r} has shape {source.shape(name)}, config.json asks for {plan.shape}"
            )


def _check_room(out: Path, files: list[_PlannedFile]) -> None:
    needed, free = sum(file.num_bytes for file in files), shutil.disk_usage(out).free
    if needed > free:
        raise PackageError(f"{out}: the package needs {needed / 1e9:.1f} GB more, {free / 1e9:.1f} GB are free")


def _identity(job: PackageJob) -> Identity:
    carried = [path for name in CARRIED_FILES if (path := job.source / name).is_file()]
    return Identity(
        source=job.source_name,
        revision=job.revision,
        source_sha256=_sha256_of_all([*checkpoint_files(job.source), *carried]),
        adapters=tuple(Adapter(folder.name, _sha256_of_all(adapter_files(folder))) for folder in job.adapters),
        dtype=job.dtype,
        tensor_parallel_degree=job.degree,
    )


def _sha256_of_all(paths: list[Path]) -> str:
    """One digest over names and contents."""
    digest = hashlib.sha256()
    for path in paths:
        digest.update(f"{path.name}:{sha256_of(path)}\n".encode())
    return digest.hexdigest()


def _finished(out: Path, wanted: Identity) -> Manifest:
    manifest = read_manifest(out)
    for field, value in structs.asdict(wanted).items():
        if getattr(manifest, field) != value:
            raise PackageError(
                f"{out} holds a package with {field}={getattr(manifest, field)!r}, wanted is {value!r}; "
                "choose another folder or remove this one"
            )
    return manifest
