"""Files and archives read as a stream of blocks or members, going on after damage where the format allows it."""

from __future__ import annotations

import bz2
import gzip
import io
import logging
import lzma
import re
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import BinaryIO

import pyarrow as pa

from index_builder.documents.document import ReadReport, SkippedError

log = logging.getLogger(__name__)

COMPRESSED = (".gz", ".bz2", ".xz", ".zst")
READ_BYTES = 1 << 18
_BZ2_STREAM = re.compile(rb"BZh[1-9]1AY&SY")
_MAGIC_BYTES = 10
_BROKEN = (EOFError, zlib.error, gzip.BadGzipFile, lzma.LZMAError, pa.ArrowException, OSError, ValueError)
_TAR_ENDINGS = (
    ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tbz", ".tar.xz", ".txz", ".tar.zst", ".tzst",
)  # fmt: skip
_BROKEN_ARCHIVES = (
    tarfile.TarError,
    zipfile.BadZipFile,
    zlib.error,
    EOFError,
    RuntimeError,
    NotImplementedError,
    ValueError,
)


def blocks(path: Path, report: ReadReport, start: int = 0) -> Iterator[bytes]:
    """The content of a file, plain or compressed by its name (.bz2 of one stream or many, .gz, .xz, .zst), in blocks;
    damage is counted and logged.

    Args:
        start: the byte of the file from which on it is read; of a .bz2 file from the next stream on, of other
            compressed ones only 0 is legal.

    Raises:
        OSError: the file cannot be opened or read at all.
    """
    suffix = path.suffix.lower()
    with path.open("rb") as file:
        file.seek(start)
        if suffix == ".bz2":
            yield from _Bz2Blocks(path, file, report, seeks=start > 0)
        elif suffix in COMPRESSED:
            yield from _decompressed_blocks(path, file, report)
        else:
            yield from plain_blocks(file, report)


def plain_blocks(file: BinaryIO, report: ReadReport) -> Iterator[bytes]:
    """The content of an open file in blocks."""
    while block := file.read(READ_BYTES):
        report.source_bytes += len(block)
        yield block


def whole_content(content: bytes, name: str, max_bytes: int) -> bytes:
    """`content` decompressed by its `name`, or as it is.

    Raises:
        SkippedError: it is damaged, or more than `max_bytes` come out of it.
    """
    suffix = Path(name).suffix.lower()
    if suffix not in COMPRESSED:
        return content
    found = bytearray()
    try:
        with opened(io.BytesIO(content), suffix) as file:
            while len(found) <= max_bytes and (block := file.read(READ_BYTES)):
                found += block
    except _BROKEN as error:
        raise SkippedError("damaged file", name, str(error)) from error
    if len(found) > max_bytes:
        raise SkippedError("file over the size limit", name, f"more than {max_bytes} bytes come out of it")
    return bytes(found)


def plain_stem(name: str) -> str:
    """The name of a file without its folder and endings: "report" of "a/report.pdf.gz"."""
    path = PurePosixPath(name)
    return PurePosixPath(path.stem).stem if path.suffix.lower() in COMPRESSED else path.stem


def opened(file: BinaryIO, suffix: str) -> BinaryIO:
    """What comes out of a compressed file, as a file that is read from its beginning on."""
    if suffix == ".gz":
        return gzip.GzipFile(fileobj=file)  # type: ignore[return-value]
    if suffix == ".bz2":
        return bz2.BZ2File(file)  # type: ignore[return-value]
    if suffix == ".xz":
        return lzma.LZMAFile(file)  # type: ignore[return-value]
    stream: BinaryIO = pa.CompressedInputStream(pa.PythonFile(file, mode="r"), "zstd")
    return stream


def note_damage(path: Path, report: ReadReport, detail: str) -> None:
    """Count and log a part of a file that cannot be read."""
    report.skip("damaged file", f"{path.name}: {detail}")
    log.warning("source.damaged file=%s detail=%s", path, detail)


def _decompressed_blocks(path: Path, file: BinaryIO, report: ReadReport) -> Iterator[bytes]:
    position = 0
    try:
        with opened(file, path.suffix.lower()) as plain:
            read = getattr(plain, "read1", plain.read)  # what came before damage, where the library gives it
            while block := read(READ_BYTES * 4):
                report.source_bytes += file.tell() - position
                position = file.tell()
                yield block
    except _BROKEN as error:
        note_damage(path, report, str(error))


class _Bz2Blocks:
    """Blocks of a .bz2 file; after damage it goes on at the next stream (dumps hold 100 pages a stream)."""

    def __init__(self, path: Path, file: BinaryIO, report: ReadReport, seeks: bool = False) -> None:
        self._path = path
        self._file = file
        self._report = report
        self._pending = b""
        if seeks:
            self._seek_stream(0)

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


@dataclass(frozen=True)
class Member:
    """A file within an archive, open while the next one is not asked for."""

    name: str
    num_bytes: int
    file: BinaryIO


def is_archive(name: str) -> bool:
    """Whether a file of this name holds others."""
    return name.lower().endswith((".zip", *_TAR_ENDINGS))


def members(path: Path, report: ReadReport, content: bytes | None = None) -> Iterator[Member]:
    """The files of an archive in order; damage ends it, is counted and logged.

    Args:
        content: of an archive that lies in another one, where `path` is.

    Raises:
        OSError: the archive cannot be opened.
    """
    try:
        with path.open("rb") if content is None else io.BytesIO(content) as file:
            yield from _zipped(file) if path.suffix.lower() == ".zip" else _tarred(file, path.name)
    except _BROKEN_ARCHIVES as error:
        note_damage(path, report, f"{type(error).__name__}: {error}")


def _zipped(packed: BinaryIO) -> Iterator[Member]:
    with zipfile.ZipFile(packed) as archive:
        for entry in archive.infolist():
            if not entry.is_dir():
                with archive.open(entry) as file:
                    yield Member(entry.filename, entry.file_size, file)  # type: ignore[arg-type]


def _tarred(packed: BinaryIO, name: str) -> Iterator[Member]:
    with _tar(packed, name) as archive:
        for entry in archive:
            file = archive.extractfile(entry) if entry.isfile() else None
            if file is not None:
                yield Member(entry.name, entry.size, file)  # type: ignore[arg-type]


@contextmanager
def _tar(packed: BinaryIO, name: str) -> Iterator[tarfile.TarFile]:
    if name.lower().endswith((".tar.zst", ".tzst")):
        with tarfile.open(fileobj=opened(packed, ".zst"), mode="r|") as archive:
            yield archive
    else:
        with tarfile.open(fileobj=packed, mode="r|*") as archive:
            yield archive
