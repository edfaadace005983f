"""Markdown: headings, paragraphs and list items; code, tables and images left out."""

from __future__ import annotations

import re

from markdown_it import MarkdownIt
from markdown_it.token import Token

from index_builder.documents.formats.html_page import read_html
from index_builder.documents.formats.plain_text import decoded
from index_builder.documents.outline import Outline

_FRONT_MATTER = re.compile(r"\A---[ \t]*\n(.{0,20000}?)\n(?:---|\.\.\.)[ \t]*(?:\n|\Z)", re.DOTALL)
_TITLE = re.compile(r"^title[ \t]*:[ \t]*(.{1,500})$", re.MULTILINE)


def read_markdown_file(content: bytes, name: str, outline: Outline) -> str:
    """Add a file's headings and paragraphs; the title of its front matter.

    Raises:
        SkippedError: the bytes are not UTF-8.
    """
    text = decoded(content, name).replace("\r\n", "\n")
    front_matter = _FRONT_MATTER.match(text)
    _read_tokens(text[front_matter.end() :] if front_matter else text, outline)
    title = _TITLE.search(front_matter.group(1)) if front_matter else None
    return title.group(1).strip().strip("\"'") if title else ""


def _read_tokens(text: str, outline: Outline) -> None:
    heading_level = None
    table_depth = 0
    for token in MarkdownIt("commonmark").enable("table").parse(text):
        if token.type in ("table_open", "table_close"):
            table_depth += token.nesting
        elif table_depth:
            continue
        elif token.type == "heading_open":
            heading_level = int(token.tag[1:])
        elif token.type == "html_block":
            read_html(token.content, outline)
        elif token.type == "inline" and heading_level is not None:
            outline.add_heading(heading_level, _prose(token))
            heading_level = None
        elif token.type == "inline":
            outline.add_paragraph(_prose(token))


def _prose(inline: Token) -> str:
    """The words of a line: links by their labels, code as it stands, images and tags left out."""
    return "".join(
        " " if child.type in ("softbreak", "hardbreak") else child.content
        for child in inline.children or []
        if child.type in ("softbreak", "hardbreak", "text", "text_special", "code_inline")
    )
