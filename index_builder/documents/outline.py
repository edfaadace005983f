"""Headings and paragraphs in the order they are met, as the sections of a document."""

from __future__ import annotations

import re

from index_builder.documents.document import Document, Section, SkippedError

MAX_HEADING_CHARS = 300
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

    def leave_out(self, part: SkippedError) -> None:
        """Note a part that could not be read."""
        self._left_out.append(part)

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
        return Document(name, found, url, sections, tuple(self._left_out))
