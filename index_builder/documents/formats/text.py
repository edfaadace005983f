"""Plain text, cut into paragraphs; Markdown with its front matter; Rich Text Format."""

from __future__ import annotations

import codecs
import datetime
import re
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import groupby

import yaml
from markdown_it import MarkdownIt
from markdown_it.token import Token

from index_builder.documents.document import SkippedError
from index_builder.documents.encodings import decoded
from index_builder.documents.formats.html_page import read_html
from index_builder.documents.outline import Outline

_BLANK_LINES = re.compile(r"\n\s*\n|\f")
_LINE_BREAKS = re.compile(r"\r\n?|\u2028|\u2029|\x85|\v")
_LIST_ITEM = re.compile(r"\s*(?:[-*•–‣·]|\d{1,3}[.)])\s")
_WRAPPED_CHARS = 40  # a shorter line was ended by its writer, a longer one may have been ended by the margin
_FRONT_MATTER = re.compile(r"\A\ufeff?---[ \t]*\n(.{0,20000}?)\n(?:---|\.\.\.)[ \t]*(?:\n|\Z)", re.DOTALL)
_TOML_MATTER = re.compile(r"\A\ufeff?\+\+\+[ \t]*\n(.{0,20000}?)\n\+\+\+[ \t]*(?:\n|\Z)", re.DOTALL)
_FOOTNOTE = re.compile(r"\[\^[^\]\s]{1,60}\](?::[ \t]*)?")
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
    found = _FRONT_MATTER.match(text) or _TOML_MATTER.match(text)
    if found is None:
        return text, ""
    entries = _entries(found.group(1), is_toml=found.group().lstrip("\ufeff").startswith("+"))
    for name, values in entries.items():
        if name != "title":
            outline.add_field(name, values)
    return text[found.end() :], " ".join(entries.get("title", ()))


def _entries(text: str, is_toml: bool) -> dict[str, list[str]]:
    """Values and lists of values by name; what is nested deeper is no field."""
    try:
        loaded = tomllib.loads(text) if is_toml else yaml.safe_load(text)
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
            outline.add_paragraph(_FOOTNOTE.sub("", _prose(token, outline)))


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


_RTF = re.compile(
    rb"\\([a-z]{1,32})(-?\d{1,10})? ?|\\'([0-9a-fA-F]{2})|\\([^a-zA-Z])|([{}])|([^\\{}\r\n]+)|[\r\n]+|\\", re.IGNORECASE
)
_RTF_UNSEEN = frozenset(
    ["fonttbl", "colortbl", "stylesheet", "pict", "object", "header", "footer", "headerl", "headerr", "footerl",
     "footerr", "fldinst", "listtable", "listoverridetable", "rsidtbl", "generator", "themedata", "datastore",
     "latentstyles", "filetbl", "revtbl", "bkmkstart", "bkmkend", "xe", "tc", "nonshppict", "annotation", "atnid",
     "atnauthor"]
)  # fmt: skip
_RTF_SIGNS = {
    "par": "\n", "line": "\n", "sect": "\n", "page": "\n", "tab": "\t", "emdash": "—", "endash": "–", "bullet": "•",
    "lquote": "‘", "rquote": "’", "ldblquote": "“", "rdblquote": "”", "emspace": " ", "enspace": " ", "row": "\n",
}  # fmt: skip
_RTF_SPECIAL = {b"~": "\u00a0", b"_": "-", b"-": "", b"\n": "\n", b"\r": "\n"}
_RTF_KINDS = {"pict": "image", "object": "embedded object", "header": "header or footer of a page",
              "footer": "header or footer of a page", "annotation": "comments of a document"}  # fmt: skip
_CELL_END = "\ue000"  # no sign of any text


def read_rtf_file(content: bytes, name: str, outline: Outline) -> str:
    """Add the paragraphs and rows of tables of a file in Rich Text Format; its title.

    Raises:
        SkippedError: it is none.
    """
    if not content.lstrip()[:5].lower() == b"{\\rtf":
        raise SkippedError("broken RTF", name, "it does not begin with {\\rtf")
    reader = _RtfReader(outline)
    text = reader.read(content)
    for is_row, lines in groupby(text.split("\n"), lambda line: _CELL_END in line):
        if is_row:
            outline.add_table([line.split(_CELL_END)[:-1] for line in lines])
        else:
            for line in lines:
                outline.add_paragraph(line)
    return reader.title


@dataclass
class _RtfGroup:
    """What holds until a bracket closes."""

    is_seen: bool = True
    num_fallback: int = 1  # characters that follow one in Unicode, for programs that know none
    kind: str = ""


class _RtfReader:
    """Reads the tokens of a file once."""

    def __init__(self, outline: Outline) -> None:
        self.title = ""
        self._outline = outline
        self._encoding = "cp1252"
        self._pieces: list[str] = []
        self._stack = [_RtfGroup()]
        self._to_skip = 0

    def read(self, content: bytes) -> str:
        for token in _RTF.finditer(content):
            word, number, code, special, bracket, plain = token.groups()
            if bracket == b"{":
                self._stack.append(replace(self._stack[-1]))
            elif bracket == b"}":
                del self._stack[max(1, len(self._stack) - 1) :]
            elif word:
                self._take_word(word.decode().lower(), number)
            elif special == b"*":
                self._stack[-1].is_seen = False
            elif code or plain:
                self._add_bytes(bytes.fromhex(code.decode()) if code else plain)
            elif special:
                self._add(_RTF_SPECIAL.get(special, special.decode("latin-1")))
        joined = "".join(self._pieces).encode("utf-16", "surrogatepass")  # which are two words in a file
        return joined.decode("utf-16", "replace")

    def _take_word(self, word: str, number: bytes | None) -> None:
        group = self._stack[-1]
        if word in _RTF_UNSEEN:
            group.is_seen = False
            if word in _RTF_KINDS:
                self._outline.drop(_RTF_KINDS[word])
        elif word == "shptxt":  # a text box, in a group that programs may leave out
            group.is_seen = True
        elif word in ("info", "title"):
            group.kind, group.is_seen = word, False
        elif word == "ansicpg" and number:
            self._encoding = _known_encoding(f"cp{int(number)}")
        elif word == "uc":
            group.num_fallback = int(number or 1)
        elif word == "u" and number:
            self._add(chr(int(number) % 0x10000))
            self._to_skip = group.num_fallback
        elif word in ("cell", "nestcell"):
            self._add(_CELL_END)
        else:
            self._add(_RTF_SIGNS.get(word, ""))

    def _add_bytes(self, found: bytes) -> None:
        skipped = min(self._to_skip, len(found))
        self._to_skip -= skipped
        self._add(found[skipped:].decode(self._encoding, errors="replace"))

    def _add(self, text: str) -> None:
        if self._stack[-1].is_seen:
            self._pieces.append(text)
        elif self._stack[-1].kind == "title":
            self.title += text


def _known_encoding(name: str) -> str:
    try:
        return codecs.lookup(name).name
    except LookupError:
        return "cp1252"
