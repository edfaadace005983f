"""Where a rank's parameters come from: slices of a plain checkpoint, or the rank's own packaged files."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from deepspeed.checkpoint.constants import DS_AUTOTP_UC_META
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from server.artifacts.folder import MANIFEST
from server.engine.weights.checkpoint_files import (
    CheckpointError,
    WeightFiles,
    is_packaged,
    warn_of_files_left_aside,
    weight_files,
)
from server.engine.weights.family import FORMER_NAMES
from server.engine.weights.int4 import Int4Weight, widened

COMMON_FILE = "common.safetensors"
_READABLE = {torch.float16, torch.bfloat16, torch.float32, torch.float64}


class WeightsError(ValueError):
    """A checkpoint that cannot be loaded; the sentence names the folder, the tensor and what is wrong."""


@dataclass(frozen=True)
class Cut:
    """A rank's share of a parameter: [start, stop) along `dim`."""

    dim: int
    start: int
    stop: int


def cut_of(parameter: nn.Parameter, rank: int) -> Cut | None:
    """The share of `parameter` that AutoTP gave `rank`, read from AutoTP's own metadata; None when replicated.

    Raises:
        WeightsError: the layer interleaves several parts (a fused layout that is not one contiguous range).
    """
    meta = getattr(parameter, DS_AUTOTP_UC_META, None)
    if meta is None or meta["replicated"] or meta["partition_dim"] is None:
        return None
    parts = meta["sub_param_shard_widths"]
    sizes = parts[0] if parts and len(parts) == 1 else meta["partition_sizes"]
    if sizes is None or (parts and len(parts) > 1):
        raise WeightsError(f"a parameter of logical shape {meta['logical_shape']} is not cut in one contiguous range")
    start = sum(sizes[:rank])
    return Cut(meta["partition_dim"], start, start + sizes[rank])


class WeightSource(Protocol):
    """Gives one parameter of one rank at a time."""

    def tensor(self, name: str, cut: Cut | None) -> Tensor:
        """The rank's share of parameter `name`, as stored."""


class PlainCheckpoint:
    """A Hugging Face checkpoint folder: one or many safetensors files with whole tensors."""

    def __init__(self, folder: Path, tied: dict[str, str] | None = None) -> None:
        self._folder = folder
        self._tied = tied or {}
        files = files_of(folder)
        warn_of_files_left_aside(files)
        self._files = self._open(files)

    @property
    def names(self) -> frozenset[str]:
        """Every tensor that is there."""
        return frozenset(self._files)

    def tensor(self, name: str, cut: Cut | None) -> Tensor:
        """The rank's share, read without touching the rest of the file."""
        key = self._key(name)
        part = self._files[key].get_slice(key)
        if cut is None:
            share: Tensor = part[:]
        else:
            share = part[cut.start : cut.stop] if cut.dim == 0 else part[:, cut.start : cut.stop]
        if share.dtype not in _READABLE:
            raise WeightsError(
                f"{self._folder}: tensor {key!r} holds {str(share.dtype).removeprefix('torch.')}: quantised weights of "
                "this kind are not read; use the original checkpoint, and OCK_DTYPE=int8 or int4"
            )
        return share

    def _open(self, files: WeightFiles) -> Mapping[str, Any]:
        if files.pickled:
            raise WeightsError(
                f"{self._folder}: no *.safetensors file; 'python -m deploy package' converts other formats"
            )
        return by_tensor(files, {path: handle for path in files.paths for handle in [_open_file(path)]})

    def _key(self, name: str) -> str:
        for tensor in (name, *self._tied_with(name)):
            found = [each for each in (tensor, *former_names(tensor)) if each in self._files]
            if len(found) > 1:
                raise WeightsError(f"{self._folder}: {found[0]!r} and {found[1]!r} are two names of one tensor")
            if found:
                return found[0]
        head = '; if its head is the embedding, config.json has to say "tie_word_embeddings": true'
        raise WeightsError(
            f"{self._folder}: tensor {name!r} is missing from its files{head if name.startswith('lm_head.') else ''}"
        )

    def _tied_with(self, name: str) -> Iterator[str]:
        """What has the same values: files may hold either."""
        for tensor, other in self._tied.items():
            if name in (tensor, other):
                yield other if name == tensor else tensor


class PackagedCheckpoint:
    """A packaged folder: `common.safetensors` for replicated tensors and `rank-N.safetensors` with cut ones."""

    def __init__(self, folder: Path, rank: int, world: int) -> None:
        manifest = json.loads((folder / MANIFEST).read_text("utf-8"))
        if manifest["tensor_parallel_degree"] != world:
            raise WeightsError(
                f"{folder} is packaged for tensor-parallel degree {manifest['tensor_parallel_degree']}, "
                f"OCK_TENSOR_PARALLEL_DEGREE={world}: package it again or change the setting"
            )
        self._files = RankFiles(folder, rank)

    def tensor(self, name: str, cut: Cut | None) -> Tensor:
        """The rank's share, which is a whole tensor of its files; widened to float32 where they hold four bits."""
        return self._files.rows(name)


class RankFiles:
    """The tensors of a packaged folder that one rank reads."""

    def __init__(self, folder: Path, rank: int) -> None:
        self._folder = folder
        self._files: dict[str, Any] = {}
        for path in (folder / COMMON_FILE, folder / rank_file(rank)):
            handle = _open_file(path)
            self._files.update(dict.fromkeys(handle.keys(), handle))

    def rows(self, name: str, start: int | None = None, stop: int | None = None) -> Tensor:
        """The rank's share of parameter `name`, or the rows [start, stop) of it."""
        *parts, num_inputs = int4_names(name)
        if name not in self._files and num_inputs in self._files:
            weight = Int4Weight(*(self._stored(part, start, stop) for part in parts))
            return widened(weight, int(self._stored(num_inputs, None, None)), torch.float32)
        return self._stored(name, start, stop)

    def _stored(self, name: str, start: int | None, stop: int | None) -> Tensor:
        if name not in self._files:
            raise WeightsError(f"{self._folder}: tensor {name!r} is missing from the packaged files")
        if start is None:
            whole: Tensor = self._files[name].get_tensor(name)
            return whole
        some: Tensor = self._files[name].get_slice(name)[start:stop]
        return some


def int4_names(name: str) -> tuple[str, ...]:
    """What a package calls the parts of parameter `name` where it has four bits, and the number of its inputs."""
    return tuple(f"{name}.{part}" for part in (*Int4Weight._fields, "num_inputs"))


def rank_file(rank: int) -> str:
    """The name of the file with a rank's own tensors."""
    return f"rank-{rank}.safetensors"


def open_weights(folder: Path, rank: int, world: int, tied: dict[str, str] | None = None) -> WeightSource:
    """The weights in `folder`, packaged or plain.

    Raises:
        WeightsError: no safetensors there, a damaged file, or a package for another degree.
    """
    return PackagedCheckpoint(folder, rank, world) if is_packaged(folder) else PlainCheckpoint(folder, tied)


def files_of(folder: Path) -> WeightFiles:
    """The files that count in `folder`. Raises WeightsError where they are no whole checkpoint."""
    try:
        return weight_files(folder)
    except CheckpointError as error:
        raise WeightsError(str(error)) from error


def by_tensor(files: WeightFiles, opened: Mapping[Path, Any]) -> dict[str, Any]:
    """For each tensor the opened file that counts. Raises WeightsError where several might."""
    holders: dict[str, list[Path]] = {}
    for path, handle in opened.items():
        for tensor in handle.keys():  # noqa: SIM118 # a file of tensors, no mapping
            holders.setdefault(tensor, []).append(path)
    try:
        return {tensor: opened[files.home_of(tensor, paths)] for tensor, paths in holders.items()}
    except CheckpointError as error:
        raise WeightsError(str(error)) from error


def former_names(tensor: str) -> Iterator[str]:
    """What checkpoints may call it that were written by an older transformers."""
    for now, former in FORMER_NAMES.items():
        if tensor.startswith(f"{now}."):
            yield former + tensor.removeprefix(now)


def _open_file(path: Path) -> Any:
    try:
        return safe_open(path, framework="pt")
    except (OSError, SafetensorError) as error:
        raise WeightsError(f"{path}: not a readable safetensors file ({error})") from error


def cast(tensor: Tensor, dtype: torch.dtype, device: torch.device) -> Tensor:
    """A private, contiguous copy in the engine's dtype; integers keep theirs."""
    wanted = dtype if tensor.is_floating_point() else tensor.dtype
    return tensor.to(device=device, dtype=wanted, copy=True, memory_format=torch.contiguous_format)
