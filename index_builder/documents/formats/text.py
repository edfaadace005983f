"""Plain text, cut into paragraphs; and Markdown with its front matter."""

from __future__ import annotations

import datetime
import re
from collections.abc import Iterator

import yaml
from markdown_it import MarkdownIt
from markdown_it.token import Token

from index_builder.documents.encodings import decoded
from index_builder.documents.formats.html_page import read_html
from index_builder.documents.outline import Outline

_BLANK_LINES = re.compile(r"\n\s*\n|\f")
_LINE_BREAKS = re.compile(r"\r\n?|\u2028|\u2029|\x85|\v")
_LIST_ITEM = re.compile(r"\s*(?:[-*•–‣·]|\d{1,3}[.)])\s")
_WRAPPED_CHARS = 40  # a shorter line was ended by its writer, a longer one may have been ended by the margin
_FRONT_MATTER = re.compile(r"\A\ufeff?---[ \t]*\n(.{0,20000}?)\n(?:---|\.\.\.)[ \t]*(?:\n|\Z)", re.DOTALL)
_TITLE = re.compile(r"^title[ \t]*:[ \t]*(.{1,500})$", re.MULTILINE)
_SCALARS = (str, int, float, bool, datetime.date, datetime.datetime)
_HIDDEN = re.compile(r"^\s*<!--.*-->\s*$", re.DOTALL)


def read_text(text: str, outline: Outline) -> None:
    """Add the paragraphs of plain text; lines that a margin has broken are joined again."""
    for block in _BLANK_LINES.split(_LINE_BREAKS.sub("\n", text)):
        for paragraph in _paragraphs(block.split("\n")):
            outline.add_paragraph(paragraph)


def _paragraphs(lines: list[str]) -> list[str]:
    found: list[list[str]] = []  # pieces of each paragraph
    previous = ""
    for line in (each.strip() for each in lines):
        goes_on = len(previous) >= _WRAPPED_CHARS or line[:1].islower()
        if found and previous and goes_on and not _LIST_ITEM.match(line):
            _append(found[-1], line)
        else:
            found.append([line])
        previous = line
    return ["".join(pieces) for pieces in found]


def _append(pieces: list[str], line: str) -> None:
    last = pieces[-1]
    if last.endswith("-") and last[-2:-1].isalpha() and line[:1].islower():
        pieces[-1] = last[:-1]  # a word that the margin has cut
    else:
        pieces.append(" ")
    pieces.append(line)


def read_front_matter(text: str, outline: Outline) -> tuple[str, str]:
    """`text` without its front matter, whose entries become fields, and the title that it names."""
    found = _FRONT_MATTER.match(text)
    if found is None:
        return text, ""
    entries = _entries(found.group(1))
    for name, values in entries.items():
        if name != "title":
            outline.add_field(name, values)
    return text[found.end() :], " ".join(entries.get("title", ()))


def _entries(text: str) -> dict[str, list[str]]:
    """Values and lists of values by name; what is nested deeper is no field."""
    try:
        loaded = yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, RecursionError, OverflowError):
        loaded = None
    if not isinstance(loaded, dict):
        title = _TITLE.search(text)
        return {"title": [title.group(1).strip().strip("\"'")]} if title else {}
    return {str(name): _values(value) for name, value in loaded.items() if isinstance(name, _SCALARS)}


def _values(value: object) -> list[str]:
    listed = value if isinstance(value, list | tuple | set) else [value]
    return [_written(each) for each in listed if isinstance(each, _SCALARS)]


def _written(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def read_markdown_file(content: bytes, name: str, outline: Outline) -> str:
    """Add a file's headings and paragraphs; the title of its front matter.

    Raises:
        SkippedError: the bytes are no text.
    """
    text, title = read_front_matter(decoded(content, name).replace("\r\n", "\n"), outline)
    read_markdown(text, outline)
    return title


def read_markdown(text: str, outline: Outline) -> None:
    """Add the headings, paragraphs, code and tables of `text`."""
    heading_level = None
    tokens = iter(MarkdownIt("commonmark").enable(["table", "strikethrough"]).parse(text))
    for token in tokens:
        if token.type == "table_open":
            outline.add_table(_table_rows(tokens, outline), has_header=True)
        elif token.type in ("fence", "code_block"):
            outline.add_code(token.content)
        elif token.type == "heading_open":
            heading_level = int(token.tag[1:])
        elif token.type == "html_block" and not _HIDDEN.match(token.content):
            read_html(token.content, outline)
        elif token.type == "inline" and heading_level is not None:
            outline.add_heading(heading_level, _prose(token, outline))
            heading_level = None
        elif token.type == "inline":
            outline.add_paragraph(_prose(token, outline))


def _table_rows(tokens: Iterator[Token], outline: Outline) -> list[list[str]]:
    rows: list[list[str]] = []
    for token in tokens:
        if token.type == "table_close":
            break
        if token.type == "tr_open":
            rows.append([])
        elif token.type == "inline":
            rows[-1].append(_prose(token, outline))
    return rows


def _prose(inline: Token, outline: Outline) -> str:
    """The words of a line: links by their labels, code as it stands, images counted and tags left out."""
    children = inline.children or []
    outline.drop("image", sum(child.type == "image" for child in children))
    return "".join(
        " " if child.type in ("softbreak", "hardbreak") or child.content.lower().startswith("<br") else child.content
        for child in children
        if child.type in ("softbreak", "hardbreak", "text", "text_special", "code_inline")
        or (child.type == "html_inline" and child.content.lower().startswith("<br"))
    )
