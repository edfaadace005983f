"""Markdown: headings, paragraphs, list items, code and rows of tables; images left out. Front matter becomes fields."""

from __future__ import annotations

import re
from collections.abc import Iterator

from markdown_it import MarkdownIt
from markdown_it.token import Token

from index_builder.documents.encodings import decoded
from index_builder.documents.formats.front_matter import read_front_matter
from index_builder.documents.formats.html_page import read_html
from index_builder.documents.outline import Outline

_HIDDEN = re.compile(r"^\s*<!--.*-->\s*$", re.DOTALL)


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
