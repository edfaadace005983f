"""A safetensors file written tensor by tensor, so that a file of any size needs the memory of one tensor.

The format (https://github.com/huggingface/safetensors): eight bytes with the header's length, little endian; the header
as JSON with each tensor's dtype, shape and place; then the bytes of all tensors without gaps.
"""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import BinaryIO

import torch
from torch import Tensor

_NAMES = {torch.float32: "F32", torch.float16: "F16", torch.bfloat16: "BF16", torch.uint8: "U8", torch.int32: "I32"}
_ALIGNMENT = 64


@dataclass(frozen=True)
class TensorSpec:
    """What the header must know of a tensor before its bytes are there."""

    name: str
    shape: tuple[int, ...]
    dtype: torch.dtype

    @property
    def num_bytes(self) -> int:
        """Bytes of the tensor's values."""
        return math.prod(self.shape) * self.dtype.itemsize


class SafetensorsWriter:
    """Writes the tensors of `specs` in order into `path`, which appears whole when the writer is closed without error.

    Attributes:
        sha256: of the file, after it is closed.
    """

    def __init__(self, path: Path, specs: list[TensorSpec]) -> None:
        self._path = path
        self._part = path.with_name(f"{path.name}.part")
        self._specs = iter(specs)
        self._digest = hashlib.sha256()
        self._file: BinaryIO = self._part.open("wb")
        self._write(_header(specs))
        self.sha256 = ""

    def add(self, tensor: Tensor) -> None:
        """The next tensor, contiguous and of its spec's shape and dtype."""
        spec = next(self._specs)
        assert (tuple(tensor.shape), tensor.dtype) == (spec.shape, spec.dtype), (spec, tensor.shape, tensor.dtype)
        self._write(tensor.contiguous().view(torch.uint8).flatten().numpy().data)

    def __enter__(self) -> SafetensorsWriter:
        return self

    def __exit__(self, error: type[BaseException] | None, _: object, __: TracebackType | None) -> None:
        self._file.close()
        if error is not None:
            self._part.unlink()
            return
        assert next(self._specs, None) is None, "a tensor of the header was not written"
        self._part.replace(self._path)
        self.sha256 = self._digest.hexdigest()

    def _write(self, data: bytes | memoryview) -> None:
        self._digest.update(data)
        self._file.write(data)


def _header(specs: list[TensorSpec]) -> bytes:
    places: dict[str, object] = {"__metadata__": {"format": "pt"}}
    start = 0
    for spec in specs:
        places[spec.name] = {
            "dtype": _NAMES[spec.dtype],
            "shape": list(spec.shape),
            "data_offsets": [start, start + spec.num_bytes],
        }
        start += spec.num_bytes
    text = json.dumps(places, separators=(",", ":")).encode()
    text += b" " * (-(8 + len(text)) % _ALIGNMENT)
    return len(text).to_bytes(8, "little") + text
