"""The checkpoint that is packaged: safetensors, or `.bin` files converted here and nowhere else."""

from __future__ import annotations

import pickle
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor

from server.engine.weights.checkpoint_files import WeightFiles
from server.engine.weights.sources import PlainCheckpoint, WeightsError, WeightSource, by_tensor, files_of


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

    def shape(self, name: str) -> tuple[int, ...]:
        """The shape of parameter `name` as stored. Raises WeightsError when it is missing."""
        key = self._key(name)
        return tuple(self._files[key].get_slice(key).get_shape())

    def _open(self, files: WeightFiles) -> Mapping[str, Any]:
        if not files.pickled:
            return super()._open(files)
        return by_tensor(files, {path: _BinFile(read_pickle(path)) for path in files.paths})


def checkpoint_files(folder: Path) -> list[Path]:
    """The files that `SourceCheckpoint` reads in `folder`."""
    return list(files_of(folder).paths)


def read_pickle(path: Path) -> dict[str, Tensor]:
    """The tensors of a `.bin` file by name, mapped rather than read where it is of torch 1.6 or later.

    Raises:
        WeightsError: it holds something else than tensors.
    """
    try:
        tensors = torch.load(path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path))
    except (OSError, RuntimeError, pickle.UnpicklingError) as error:
        first = str(error).strip().splitlines()[0]
        raise WeightsError(f"{path}: cannot be read without running code in it ({first})") from error
    if not isinstance(tensors, dict) or not all(isinstance(each, Tensor) for each in tensors.values()):
        raise WeightsError(f"{path}: a checkpoint maps names to tensors, this file holds something else")
    return tensors


class _BinFile:
    """One `.bin` file behind the calls that `PlainCheckpoint` makes of a safetensors file."""

    def __init__(self, tensors: dict[str, Tensor]) -> None:
        self._tensors = tensors

    def keys(self) -> Iterable[str]:
        return self._tensors

    def get_slice(self, key: str) -> _BinSlice:
        return _BinSlice(self._tensors[key])


class _BinSlice:
    def __init__(self, tensor: Tensor) -> None:
        self._tensor = tensor

    def __getitem__(self, place: Any) -> Tensor:
        return self._tensor[place]

    def get_shape(self) -> list[int]:
        return list(self._tensor.shape)
