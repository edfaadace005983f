"""Headings, paragraphs, tables and code in the order they are met, as the sections of a document."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence

from index_builder.documents.document import Document, Section, SkippedError
from index_builder.documents.grid import row_texts

MAX_HEADING_CHARS = 300
MAX_FIELD_CHARS = 300
MAX_FIELD_VALUES = 100
_CODE_CHARS = 300  # lines of code are read together up to so many characters: a line alone says too little
# Control characters, and the halves of surrogate pairs, which no file of text may hold.
_UNPRINTABLE = re.compile(r"[\x00-\x08\x0e-\x1f\x7f\ud800-\udfff\ufeff]")
_SPACE = re.compile(r"[\s\u200b]+")
_WORD = re.compile(r"\w")
_PERMALINK = re.compile(r"(?:\s*[¶🔗]|\s+#)$")


def one_line(text: str) -> str:
    """`text` without line breaks, doubled spaces and unprintable characters."""
    return _SPACE.sub(" ", _UNPRINTABLE.sub("", text)).strip()


class Outline:
    """Collects what a reader of some format meets; the first heading of level 1 names the document."""

    def __init__(self) -> None:
        self._path: list[tuple[int, str]] = []  # level and text of the headings that are open
        self._parts: list[tuple[tuple[str, ...], list[str]]] = [((), [])]  # path of headings, paragraphs under it
        self._main_heading = ""
        self._first_heading = ""
        self._left_out: list[SkippedError] = []
        self._dropped: Counter[str] = Counter()
        self._fields: dict[str, tuple[str, ...]] = {}

    def add_heading(self, level: int, text: str) -> None:
        """Begin the section of a heading; an empty one begins none."""
        heading = _PERMALINK.sub("", one_line(text))[:MAX_HEADING_CHARS]
        if not _WORD.search(heading):
            return
        while self._path and self._path[-1][0] >= level:
            self._path.pop()
        self._path.append((level, heading))
        self._parts.append((tuple(name for _, name in self._path), []))
        self._first_heading = self._first_heading or heading
        if level == 1:
            self._main_heading = self._main_heading or heading

    def add_paragraph(self, text: str) -> None:
        """Add a paragraph or list item, if it holds words."""
        paragraph = one_line(text)
        if _WORD.search(paragraph):
            self._parts[-1][1].append(paragraph)

    def add_table(self, rows: Iterable[Sequence[str]], has_header: bool | None = None) -> None:
        """Add a table, a paragraph a row, every value behind the heading of its column.

        Args:
            has_header: whether the first row holds the columns' headings; None: told by what it holds.
        """
        for text in row_texts([[one_line(cell) for cell in row] for row in rows], has_header):
            self.add_paragraph(text)

    def add_code(self, text: str) -> None:
        """Add a block of code, some lines a paragraph; a blank line ends one."""
        waiting = ""
        for line in (one_line(each) for each in text.split("\n")):
            if waiting and (not line or len(waiting) + len(line) > _CODE_CHARS):
                self.add_paragraph(waiting)
                waiting = ""
            waiting = f"{waiting} {line}".strip()
        self.add_paragraph(waiting)

    def remove_sections(self, is_unwanted: Callable[[str], bool]) -> int:
        """Take away the sections one of whose headings is unwanted; how many held text."""
        kept = [part for part in self._parts if not any(is_unwanted(name) for name in part[0])]
        num_removed = sum(bool(part[1]) for part in self._parts) - sum(bool(part[1]) for part in kept)
        self._parts = kept
        return num_removed

    def leave_out(self, part: SkippedError) -> None:
        """Note a part that could not be read."""
        self._left_out.append(part)

    def drop(self, kind: str, count: int = 1) -> None:
        """Count parts that hold no text: images, navigation..."""
        if count:
            self._dropped[kind] += count

    def add_field(self, name: str, values: str | Iterable[str]) -> None:
        """Note what is known of the document beside its text; empty values are none."""
        found = [one_line(value)[:MAX_FIELD_CHARS] for value in ([values] if isinstance(values, str) else values)]
        key = one_line(name).lower()[:MAX_FIELD_CHARS]
        if key and any(found):
            kept = (*self._fields.get(key, ()), *(value for value in found if value))
            self._fields[key] = tuple(dict.fromkeys(kept))[:MAX_FIELD_VALUES]

    def document(self, name: str, title: str, url: str, otherwise: str = "") -> Document:
        """The document `name`; its title is the main heading, else `title`, the first heading, `otherwise`.

        Raises:
            SkippedError: there are no paragraphs.
        """
        found = self._main_heading or one_line(title)[:MAX_HEADING_CHARS] or self._first_heading or otherwise
        sections = tuple(
            Section(" > ".join(path[path[:1] == (found,) :]), tuple(paragraphs))
            for path, paragraphs in self._parts
            if paragraphs
        )
        if not sections:
            raise next(iter(self._left_out), SkippedError("no prose", name, "no paragraph in it holds a word"))
        return Document(
            name,
            found,
            url,
            sections=sections,
            left_out=tuple(self._left_out),
            dropped=dict(self._dropped),
            fields=dict(self._fields),
        )
