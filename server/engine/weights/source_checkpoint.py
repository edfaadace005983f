"""The checkpoint that is packaged: safetensors, or `.bin` files converted here and nowhere else."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor

from server.engine.weights.checkpoint_files import CheckpointError, WeightFiles, weight_files
from server.engine.weights.sources import PlainCheckpoint, WeightsError, WeightSource


class WholeSource(WeightSource, Protocol):
    """A weight source that knows how large each tensor is before it is cut."""

    def shape(self, name: str) -> tuple[int, ...]:
        """The shape of parameter `name` as stored."""


class SourceCheckpoint(PlainCheckpoint):
    """A Hugging Face checkpoint folder, mapped into memory and read tensor by tensor.

    `.bin` files are looked at only where there is no safetensors file. They are pickles: `weights_only` reads their
    tensors and refuses everything else.

    Raises:
        WeightsError: no checkpoint there, or a file that cannot be read.
    """

    def __init__(self, folder: Path, tied: dict[str, str] | None = None) -> None:
        if not _weight_files(folder).pickled:
            super().__init__(folder, tied)
            return
        self._folder = folder
        self._tied = tied or {}
        self._files: dict[str, Any] = _open_bins(folder)

    def shape(self, name: str) -> tuple[int, ...]:
        """The shape of parameter `name` as stored. Raises WeightsError when it is missing."""
        key = self._key(name)
        return tuple(self._files[key].get_slice(key).get_shape())


def checkpoint_files(folder: Path) -> list[Path]:
    """The files that `SourceCheckpoint` reads in `folder`."""
    return list(_weight_files(folder).paths)


def _weight_files(folder: Path) -> WeightFiles:
    try:
        return weight_files(folder)
    except CheckpointError as error:
        raise WeightsError(str(error)) from error


def read_pickle(path: Path) -> dict[str, Tensor]:
    """The tensors of a `.bin` file, mapped rather than read, by name.

    Raises:
        WeightsError: it holds something else than tensors, or is in the format torch had before 1.6.
    """
    try:
        tensors = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except (OSError, RuntimeError, pickle.UnpicklingError) as error:
        first = str(error).strip().splitlines()[0]
        raise WeightsError(f"{path}: cannot be read without running code in it ({first})") from error
    if not isinstance(tensors, dict) or not all(isinstance(each, Tensor) for each in tensors.values()):
        raise WeightsError(f"{path}: a checkpoint maps names to tensors, this file holds something else")
    return tensors


class _BinFile:
    """One `.bin` file behind the two calls that `PlainCheckpoint` makes of a safetensors file."""

    def __init__(self, tensors: dict[str, Tensor]) -> None:
        self._tensors = tensors

    def get_slice(self, key: str) -> _BinSlice:
        return _BinSlice(self._tensors[key])


class _BinSlice:
    def __init__(self, tensor: Tensor) -> None:
        self._tensor = tensor

    def __getitem__(self, place: Any) -> Tensor:
        return self._tensor[place]

    def get_shape(self) -> list[int]:
        return list(self._tensor.shape)


def _open_bins(folder: Path) -> dict[str, Any]:
    files: dict[str, Any] = {}
    for path in checkpoint_files(folder):
        tensors = read_pickle(path)
        files.update(dict.fromkeys(tensors, _BinFile(tensors)))
    return files
