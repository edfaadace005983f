"""Files read as a stream of decompressed blocks, going on after damage where the format allows it."""

from __future__ import annotations

import bz2
import gzip
import logging
import re
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from index_builder.documents.document import ReadReport

log = logging.getLogger(__name__)

READ_BYTES = 1 << 18
_BZ2_STREAM = re.compile(rb"BZh[1-9]1AY&SY")
_MAGIC_BYTES = 10


def blocks(path: Path, report: ReadReport) -> Iterator[bytes]:
    """The content of a plain, .bz2 (one stream or many) or .gz file, in blocks; damage is counted and logged.

    Raises:
        OSError: the file cannot be opened or read at all.
    """
    with path.open("rb") as file:
        if path.suffix == ".bz2":
            yield from _Bz2Blocks(path, file, report)
        elif path.suffix == ".gz":
            yield from _gzip_blocks(path, file, report)
        else:
            yield from _raw_blocks(file, report)


def note_damage(path: Path, report: ReadReport, detail: str) -> None:
    """Count and log a part of a file that cannot be read."""
    report.skip("damaged file", f"{path.name}: {detail}")
    log.warning("source.damaged file=%s detail=%s", path, detail)


def _raw_blocks(file: BinaryIO, report: ReadReport) -> Iterator[bytes]:
    while block := file.read(READ_BYTES):
        report.source_bytes += len(block)
        yield block


def _gzip_blocks(path: Path, file: BinaryIO, report: ReadReport) -> Iterator[bytes]:
    position = 0
    try:
        with gzip.GzipFile(fileobj=file) as plain:
            while block := plain.read1(READ_BYTES * 4):
                report.source_bytes += file.tell() - position
                position = file.tell()
                yield block
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        note_damage(path, report, str(error))


class _Bz2Blocks:
    """Blocks of a .bz2 file; after damage it goes on at the next stream (dumps hold 100 pages a stream)."""

    def __init__(self, path: Path, file: BinaryIO, report: ReadReport) -> None:
        self._path = path
        self._file = file
        self._report = report
        self._pending = b""

    def __iter__(self) -> Iterator[bytes]:
        while self._pending or self._read():
            yield from self._stream()

    def _read(self) -> bool:
        more = self._file.read(READ_BYTES)
        self._report.source_bytes += len(more)
        self._pending += more
        return bool(more)

    def _stream(self) -> Iterator[bytes]:
        decompressor = bz2.BZ2Decompressor()
        fresh = True
        while not decompressor.eof:
            if decompressor.needs_input and not self._pending and not self._read():
                note_damage(self._path, self._report, "the file ends inside a bz2 stream")
                return
            fed, self._pending = self._pending, b""
            try:
                block = decompressor.decompress(fed, max_length=READ_BYTES * 8)
            except OSError:
                note_damage(self._path, self._report, f"bz2 stream broken before byte {self._file.tell()}")
                self._pending = fed
                self._seek_stream(1 if fresh else 0)
                return
            fresh = False
            if block:
                yield block
        self._pending = decompressor.unused_data + self._pending

    def _seek_stream(self, start: int) -> None:
        """Drop what is pending up to the beginning of the next stream, reading on to find one."""
        while not (match := _BZ2_STREAM.search(self._pending, start)):
            self._pending = self._pending[max(start, len(self._pending) - _MAGIC_BYTES) :]
            start = 0
            if not self._read():
                self._pending = b""
                return
        self._pending = self._pending[match.start() :]
