"""Where a rank's parameters come from: slices of a plain checkpoint, or the rank's own packaged files."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import torch
from deepspeed.checkpoint.constants import DS_AUTOTP_UC_META
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from server.artifacts.folder import MANIFEST
from server.engine.weights.checkpoint_files import CheckpointError, is_packaged, warn_of_files_left_aside, weight_files
from server.engine.weights.family import FORMER_NAMES

COMMON_FILE = "common.safetensors"


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
        self._files = _open_files(folder, _tensor_files(folder))

    def tensor(self, name: str, cut: Cut | None) -> Tensor:
        """The rank's share, read without touching the rest of the file."""
        key = self._key(name)
        part = self._files[key].get_slice(key)
        if cut is None:
            whole: Tensor = part[:]
            return whole
        share: Tensor = part[cut.start : cut.stop] if cut.dim == 0 else part[:, cut.start : cut.stop]
        return share

    def _key(self, name: str) -> str:
        names = [name, *(name.replace(f"{now}.", f"{former}.") for now, former in FORMER_NAMES.items())]
        if name in self._tied:
            names.append(self._tied[name])
        for candidate in names:
            if candidate in self._files:
                return candidate
        raise WeightsError(f"{self._folder}: tensor {name!r} is missing from its safetensors files")


class PackagedCheckpoint:
    """A packaged folder: `common.safetensors` for replicated tensors and `rank-N.safetensors` with cut ones."""

    def __init__(self, folder: Path, rank: int, world: int) -> None:
        manifest = json.loads((folder / MANIFEST).read_text("utf-8"))
        if manifest["tensor_parallel_degree"] != world:
            raise WeightsError(
                f"{folder} is packaged for tensor-parallel degree {manifest['tensor_parallel_degree']}, "
                f"OCK_TENSOR_PARALLEL_DEGREE={world}: package it again or change the setting"
            )
        self._folder = folder
        self._files = _open_files(folder, [folder / COMMON_FILE, folder / rank_file(rank)])

    def tensor(self, name: str, cut: Cut | None) -> Tensor:
        """The rank's share, which is a whole tensor of its files."""
        if name not in self._files:
            raise WeightsError(f"{self._folder}: tensor {name!r} is missing from the packaged files")
        share: Tensor = self._files[name].get_tensor(name)
        return share


def rank_file(rank: int) -> str:
    """The name of the file with a rank's own tensors."""
    return f"rank-{rank}.safetensors"


def open_weights(folder: Path, rank: int, world: int, tied: dict[str, str] | None = None) -> WeightSource:
    """The weights in `folder`, packaged or plain.

    Raises:
        WeightsError: no safetensors there, a damaged file, or a package for another degree.
    """
    return PackagedCheckpoint(folder, rank, world) if is_packaged(folder) else PlainCheckpoint(folder, tied)


def _tensor_files(folder: Path) -> list[Path]:
    try:
        files = weight_files(folder)
    except CheckpointError as error:
        raise WeightsError(str(error)) from error
    warn_of_files_left_aside(files)
    return [] if files.pickled else list(files.paths)


def _open_files(folder: Path, paths: list[Path]) -> dict[str, safe_open]:
    if not paths:
        raise WeightsError(f"{folder}: no *.safetensors file; 'python -m deploy package' converts other formats")
    files = {}
    for path in paths:
        try:
            handle = safe_open(path, framework="pt")
        except (OSError, SafetensorError) as error:
            raise WeightsError(f"{path}: not a readable safetensors file ({error})") from error
        files.update(dict.fromkeys(handle.keys(), handle))
    return files


def cast(tensor: Tensor, dtype: torch.dtype, device: torch.device) -> Tensor:
    """A private, contiguous copy in the engine's dtype; integers keep theirs."""
    wanted = dtype if tensor.is_floating_point() else tensor.dtype
    return tensor.to(device=device, dtype=wanted, copy=True, memory_format=torch.contiguous_format)
