"""A file, or a folder of files of any readable kind, as one source."""

from __future__ import annotations

import hashlib
import logging
import os
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path, PurePosixPath

from index_builder.documents.compressed import COMPRESSED, Member, blocks, is_archive, members, plain_blocks
from index_builder.documents.document import Document, ReadReport, SkippedError, note_skipped
from index_builder.documents.files import RawFile, file_kind, max_file_bytes, parse_file
from index_builder.documents.formats.mail import MAILBOX, mails_of
from index_builder.documents.records import (
    ColumnError,
    Columns,
    RawRecord,
    check_json,
    check_parquet,
    csv_records,
    has_texts,
    is_table_of_texts,
    json_records,
    parquet_records,
    parse_record,
)
from index_builder.documents.wiki.mediawiki import PAGE_BEGINS, RawPage, page_title, pages_of, parse_page

log = logging.getLogger(__name__)

_PARQUET = frozenset({".parquet", ".pq"})
_JSON_LINES = frozenset({".jsonl", ".ndjson"})
_CSV = frozenset({".csv", ".tsv", ".tab"})
_DUMP = ".xml"
_ARCHIVE = "archive"
_UNSEEKABLE = frozenset(COMPRESSED) - {".bz2"}
_FETCH_NOTES = frozenset({".fetched.jsonl", ".whole.json"})  # beside a source that was fetched from S3
_MAX_ARCHIVES = 4  # within one another
_MAX_INNER_BYTES = 256 << 20  # of an archive within another
LEGAL = (
    "a MediaWiki dump (.xml, .bz2), a table (.parquet, .jsonl, .csv), a document (.txt, .md, .html, .pdf, .docx, "
    ".pptx, .xlsx, .odt, .ods, .odp, .rtf, .epub, .eml, .mbox, .rst, .adoc, .ipynb, .xml, .json), each of "
    "them compressed (.gz, .bz2, .xz, .zst) or in an archive (.zip, .tar), a folder of them"
)
Item = RawPage | RawRecord | RawFile


def kind_suffix(path: Path) -> str:
    """What tells how `path` is read: its ending, the one before .gz and its like, "archive"; "" when nothing does."""
    return _kind(path.name)


def _kind(name: str) -> str:
    lower = name.lower()
    if is_archive(lower):
        return _ARCHIVE
    path = PurePosixPath(lower)
    compressed = path.suffix in COMPRESSED
    suffix = PurePosixPath(path.stem).suffix if compressed else path.suffix
    if suffix.startswith(_DUMP) or (compressed and _DUMP in path.stem):  # .xml-p10p30302 is a part of a dump
        return _DUMP
    if suffix in _PARQUET | _JSON_LINES:
        return "" if compressed and suffix in _PARQUET else suffix
    if suffix == MAILBOX:
        return suffix
    return file_kind(lower) or (_DUMP if path.suffix == ".bz2" else "")


@dataclass(frozen=True)
class FileSource:
    """Files read one after another, each by its kind; how an item is parsed depends on what it is.

    Attributes:
        root: the folder that names are relative to.
        paths: what is read, in order.
        columns: of the tables among them.
        left_out: (cause, name) of what a folder holds besides.
        is_folder: whether tables are some among other files.
    """

    root: Path
    paths: tuple[Path, ...]
    columns: Columns
    left_out: tuple[tuple[str, str], ...] = ()
    is_folder: bool = False

    def __getstate__(self) -> dict[str, object]:
        """What other processes need to parse items: not the list of files, which may be long."""
        return vars(self) | {"paths": (), "left_out": ()}

    @property
    def files(self) -> list[Path]:
        """What is read, in order."""
        return list(self.paths)

    def name(self, path: Path) -> str:
        """The path of a file within the source, with slashes: the same wherever the source lies."""
        return _printable(path.relative_to(self.root).as_posix())

    def check(self) -> None:
        """Look at the columns of all tables.

        Raises:
            ColumnError: one lacks a column.
        """
        if self.is_folder and not self.columns.text:
            return  # one among others is read as rows, or counted, when its turn comes
        for path in self.paths:
            with suppress(OSError):  # what cannot be read is counted when its turn comes
                if kind_suffix(path) in _PARQUET:
                    check_parquet(path, self.name(path), self.columns)
                elif kind_suffix(path) in _JSON_LINES:
                    check_json(blocks(path, ReadReport()), self.name(path), self.columns)

    def items(self, report: ReadReport) -> Iterator[Item]:
        """Pages, rows and files, in order, unparsed."""
        for cause, name in self.left_out:
            report.skip(cause, name)
            log.info("source.left_out name=%s cause=%s", name, cause)
        assert self.paths or self.left_out, (
            "a source that was sent to another process parses items and has none of its own"
        )
        for path in self.paths:
            try:
                yield from self._items_of(path, report)
            except OSError as error:
                note_skipped(report, SkippedError("unreadable file", self.name(path), _reason(error)))
            except ColumnError as error:
                note_skipped(report, SkippedError("table without a column of texts", self.name(path), str(error)))

    def spread_items(self, report: ReadReport, number: int) -> Iterator[Iterator[Item]]:
        """Items from `number` places spread over the source on, each to be read as far as one likes; of a single file
        that is no dump from its beginning alone.
        """
        if len(self.paths) >= number:
            for first in range(number):
                yield replace(self, paths=self.paths[first::number], left_out=()).items(report)
            return
        for path in self.paths:
            if kind_suffix(path) != _DUMP or path.suffix.lower() in _UNSEEKABLE:
                yield self._items_of(path, report)
                continue
            for place in range(number):
                start = place * file_bytes(path) // number
                pages = pages_of(blocks(path, report, start), path, ReadReport())
                yield islice(pages, 1, None) if start else pages  # the first is half a page

    def document(self, item: object) -> Document:
        """The document of one item.

        Raises:
            SkippedError: the item gives none.
        """
        if isinstance(item, RawPage):
            return parse_page(item)
        if isinstance(item, RawRecord):
            return parse_record(item)
        assert isinstance(item, RawFile), item
        return parse_file(item)

    def item_name(self, item: object) -> str:
        """A page's title, or the name of a row or file."""
        if isinstance(item, RawPage):
            return page_title(item)
        assert isinstance(item, RawRecord | RawFile), item
        return item.name

    def item_digest(self, item: object) -> bytes:
        """16 bytes that an item is known by, as long as nothing in it changes; a file's name is part of it."""
        if isinstance(item, RawPage):
            return _digest(item.xml, item.site.base_url.encode())
        if isinstance(item, RawRecord):
            content = item.content if isinstance(item.content, bytes) else repr(sorted(item.content.items())).encode()
            return _digest(content, repr(sorted(item.columns.items())).encode())
        assert isinstance(item, RawFile), item
        if item.content is not None:
            return _digest(item.content, item.name.encode())
        with suppress(OSError):
            if file_bytes(item.path) <= max_file_bytes(item.path.name):
                return _digest(item.path.read_bytes(), item.name.encode())
        return _digest(item.name.encode())

    def is_risky(self, item: object) -> bool:
        """Whether libraries that were not written here parse an item, whose time and memory nobody can promise."""
        return isinstance(item, RawFile) or (isinstance(item, RawRecord) and item.is_page)

    def item_bytes(self, item: object) -> int:
        """The size of a file or row, as it is stored."""
        content = getattr(item, "content", None)
        if isinstance(content, bytes):
            return len(content)
        return file_bytes(item.path) if isinstance(item, RawFile) else 0

    def _items_of(self, path: Path, report: ReadReport) -> Iterator[Item]:
        suffix = kind_suffix(path)
        name = self.name(path)
        if suffix in _PARQUET:
            yield from parquet_records(path, name, self.columns, report=report)
        elif suffix in _JSON_LINES and self._is_table(path):
            yield from json_records(blocks(path, report), name, self.columns, report=report)
        elif suffix in _CSV and is_table_of_texts(path, name, self.columns):
            yield from csv_records(path, name, self.columns, report=report)
        elif suffix == _ARCHIVE:
            yield from self._members_of(path, report)
        elif suffix == _DUMP:
            yield from self._pages_of(blocks(path, report), path, name, report=report)
        elif suffix == MAILBOX:
            yield from _mails(blocks(path, report), path, name)
        else:
            report.source_bytes += path.stat().st_size
            yield RawFile(path, name)

    def _is_table(self, path: Path) -> bool:
        """Whether lines of JSON hold a text each; those of a folder that do not are one document of rows."""
        return bool(not self.is_folder or self.columns.text or has_texts(blocks(path, ReadReport())))

    def _members_of(self, path: Path, report: ReadReport) -> Iterator[Item]:
        inside = ReadReport()  # its bytes are unpacked ones
        for member in members(path, report):
            name = f"{self.name(path)}/{_printable(member.name)}"
            yield from self._items_of_member(member, path, name, report=inside, depth=1)
        inside.source_bytes = path.stat().st_size
        report.add(inside)

    def _items_of_member(self, member: Member, path: Path, name: str, report: ReadReport, depth: int) -> Iterator[Item]:
        kind = _kind(member.name)
        plain = PurePosixPath(member.name.lower()).suffix not in COMPRESSED
        if any(_hidden(part) for part in PurePosixPath(member.name).parts):
            note_skipped(report, SkippedError("hidden file or folder", name))
        elif kind in _JSON_LINES and plain:
            yield from json_records(plain_blocks(member.file, report), name, self.columns, report=report)
        elif kind == _DUMP and plain:
            yield from self._pages_of_member(member, path, name, report=report)
        elif kind == MAILBOX and plain:
            yield from _mails(plain_blocks(member.file, report), path, name)
        elif kind == _ARCHIVE and depth < _MAX_ARCHIVES:
            yield from self._items_of_inner(member, path, name, report=report, depth=depth)
        elif not file_kind(member.name):
            note_skipped(report, SkippedError(_another_kind(member.name), name))
        elif member.num_bytes > max_file_bytes(member.name):
            note_skipped(report, SkippedError("file over the size limit", name, f"{member.num_bytes} bytes"))
        else:
            yield RawFile(path, name, member.file.read(member.num_bytes))

    def _pages_of_member(self, member: Member, path: Path, name: str, report: ReadReport) -> Iterator[Item]:
        """A dump's pages, or one document of XML, which is told by what is in it."""
        if file_kind(member.name) != _DUMP or member.num_bytes > max_file_bytes(member.name):
            yield from self._pages_of(plain_blocks(member.file, report), path, name, report=report)
            return
        content = member.file.read(member.num_bytes)
        if PAGE_BEGINS in content:
            yield from self._pages_of(iter([content]), path, name, report=report)
        else:
            yield RawFile(path, name, content)

    def _items_of_inner(self, member: Member, path: Path, name: str, report: ReadReport, depth: int) -> Iterator[Item]:
        """The items of an archive within an archive, which is held in memory."""
        content = member.file.read(_MAX_INNER_BYTES + 1)
        if len(content) > _MAX_INNER_BYTES:
            note_skipped(report, SkippedError("file over the size limit", name, f"more than {_MAX_INNER_BYTES} bytes"))
            return
        for inner in members(path.parent / PurePosixPath(member.name).name, report, content):
            inner_name = f"{name}/{_printable(inner.name)}"
            yield from self._items_of_member(inner, path, inner_name, report=report, depth=depth + 1)

    def _pages_of(self, content: Iterator[bytes], path: Path, name: str, report: ReadReport) -> Iterator[Item]:
        num_pages = 0
        for page in pages_of(content, path, report):
            num_pages += 1
            yield page
        if num_pages:
            return
        if file_kind(path.name) == _DUMP and file_bytes(path) <= max_file_bytes(path.name):
            yield RawFile(path, name)
        else:
            note_skipped(report, SkippedError("no dump", name, "no <page> element is in it"))


def _mails(content: Iterator[bytes], path: Path, name: str) -> Iterator[RawFile]:
    """The mails of a mailbox, each a document."""
    for number, mail in enumerate(mails_of(content), start=1):
        yield RawFile(path, f"{name}/{number}.eml", mail)


def _digest(*parts: bytes) -> bytes:
    digest = hashlib.blake2b(digest_size=16)
    for part in parts:
        digest.update(len(part).to_bytes(8, "little") + part)
    return digest.digest()


def folder_source(root: Path, columns: Columns) -> FileSource:
    """All files below `root` that can be read, sorted by name; what is not read is named with its cause: hidden files,
    other kinds, links to folders (which may lead in a circle), and folders that cannot be listed.
    """
    paths: list[Path] = []
    left_out: list[tuple[str, str]] = []

    def leave_out(cause: str, path: Path) -> None:
        left_out.append((cause, _printable(path.relative_to(root).as_posix())))

    for folder, subfolders, names in os.walk(root, onerror=lambda error: leave_out("unreadable folder", _path(error))):
        subfolders[:] = [each for each in subfolders if _is_walked(Path(folder, each), leave_out)]
        for path in (Path(folder, name) for name in names if name not in _FETCH_NOTES):
            if cause := _cause_to_leave_out(path):
                leave_out(cause, path)
            else:
                paths.append(path)
    paths.sort(key=lambda path: path.relative_to(root).parts)
    return FileSource(root, tuple(paths), columns, left_out=tuple(sorted(left_out)), is_folder=True)


def file_bytes(path: Path) -> int:
    """The size of a file; 0 of one that is gone or cannot be looked at."""
    try:
        return path.stat().st_size
    except OSError:
        return 0


def _is_walked(folder: Path, leave_out: Callable[[str, Path], None]) -> bool:
    if _hidden(folder.name):
        leave_out("hidden file or folder", folder)
        return False
    if folder.is_symlink():
        leave_out("link to a folder", folder)
        return False
    return True


def _cause_to_leave_out(path: Path) -> str:
    """Why a file is not read; "" when it is."""
    if _hidden(path.name):
        return "hidden file or folder"
    if not kind_suffix(path):
        return _another_kind(path.name)
    return "" if path.is_file() else "unreadable file"


def _another_kind(name: str) -> str:
    ending = PurePosixPath(name.lower()).suffix
    return f"file of another kind ({ending})" if ending and len(ending) <= 8 else "file of another kind"


def _hidden(name: str) -> bool:
    return name.startswith((".", "~$")) and name not in (".", "..")


def _path(error: OSError) -> Path:
    return Path(os.fsdecode(error.filename))


def _printable(name: str) -> str:
    """A file's name as text: bytes that are no UTF-8 are written as escapes."""
    return os.fsencode(name).decode(errors="backslashreplace")


def _reason(error: OSError) -> str:
    return f"{type(error).__name__}: {error.strerror or error}"
