"""Whether the lengths in a GGUF file's header stay inside the file; its reader in the package gguf trusts them."""

from __future__ import annotations

import mmap
from pathlib import Path

_MAGIC = b"GGUF"
_VERSIONS = (2, 3)
_WIDTHS = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}  # bytes of a value, by its kind
_STRING, _ARRAY = 8, 9
_MOST_DIMENSIONS = 4


def check_header(file: Path) -> None:
    """Walk over the header's fields and tensors.

    Raises:
        ValueError: it is not GGUF, not of a version that is read, or a length leads out of the file.
        OSError: the file cannot be read.
    """
    with file.open("rb") as opened, mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ) as content:
        _Header(content).walk()


class _Header:
    def __init__(self, content: mmap.mmap) -> None:
        self._content = content
        self._at = 0

    def walk(self) -> None:
        if self._content[:4] != _MAGIC:
            raise ValueError("it does not begin with GGUF")
        self._skip(4)
        version = self._number(4)
        if version not in _VERSIONS:
            raise ValueError(f"version {version}; legal are {', '.join(map(str, _VERSIONS))}")
        num_tensors, num_fields = self._number(8), self._number(8)
        for _ in range(num_fields):
            self._skip(self._number(8))  # the name
            self._value(self._number(4))
        for _ in range(num_tensors):
            self._tensor()

    def _tensor(self) -> None:
        self._skip(self._number(8))
        if (dimensions := self._number(4)) > _MOST_DIMENSIONS:
            raise ValueError(f"a tensor of {dimensions} dimensions; legal are up to {_MOST_DIMENSIONS}")
        self._skip(8 * dimensions + 4 + 8)

    def _value(self, kind: int) -> None:
        if kind == _ARRAY:
            self._array(self._number(4), self._number(8))
        elif kind == _STRING:
            self._skip(self._number(8))
        else:
            self._skip(self._width(kind))

    def _array(self, kind: int, length: int) -> None:
        if kind != _STRING:
            self._skip(length * self._width(kind))
            return
        for _ in range(length):
            self._skip(self._number(8))

    def _width(self, kind: int) -> int:
        if kind not in _WIDTHS:
            raise ValueError(f"a value of kind {kind}")
        return _WIDTHS[kind]

    def _number(self, width: int) -> int:
        start = self._at
        self._skip(width)
        return int.from_bytes(self._content[start : self._at], "little")

    def _skip(self, num_bytes: int) -> None:
        self._at += num_bytes
        if self._at > len(self._content):
            raise ValueError(f"a length of {num_bytes} bytes leads out of the file")
