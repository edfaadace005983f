"""Light markup: AsciiDoc by the lines that begin and end its blocks, reStructuredText by the reference implementation
of its rules.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator
from typing import Any

import docutils.core
import docutils.languages
import docutils.nodes
import docutils.utils
from docutils.parsers.rst import Directive, directives, roles

from index_builder.documents.document import SkippedError
from index_builder.documents.encodings import decoded
from index_builder.documents.outline import Outline, row_texts, walk

_HEADING = re.compile(r"^(={1,6}|#{1,6})[ \t]+(.{1,300}?)(?:[ \t]+\1)?[ \t]*$")
_ATTRIBUTE = re.compile(r"^:(!?[\w][\w-]{0,60}!?):(?:[ \t]+(.{0,1000}))?$")
_AUTHOR = re.compile(r"^([\w.'’ -]{2,100}?)[ \t]+<([^<>@\s]{1,100}@[^<>\s]{1,100})>$")
_REVISION = re.compile(r"^v?\d[\w.]{0,20}(?:,|:|$)[^:]{0,200}$|^\d{4}-\d\d-\d\d$")
_BLOCK_LINE = re.compile(r"^\[[^\]]{0,500}\][ \t]*$")
_BLOCK_TITLE = re.compile(r"^\.([^\s.].{0,300})$")
_MACRO_LINE = re.compile(r"^(image|include|video|audio|toc|ifdef|ifndef|endif|ifeval)::")
_DELIMITER = re.compile(r"^(?:-{4,}|\.{4,}|\*{4,}|={4,}|_{4,}|\+{4,}|/{4,}|```+\w*|--|[|,:!]={3,})[ \t]*$")
_LIST_ITEM = re.compile(r"^[ \t]*(?:[*\-.]{1,6}|\d{1,4}\.|<\d{1,3}>)[ \t]+(?:\[[ xX*]\][ \t]+)?")
_TERM = re.compile(r"^(.{1,200}?):{2,4}(?:[ \t]+(.{0,2000}))?$")
_COMMENT = re.compile(r"^//(?!/)")
_LINK = re.compile(
    r"(?:link:|mailto:|xref:)?(?:https?://[^\s\[\]]{1,500}|(?<=link:)[^\s\[\]]{1,300}|(?<=xref:)[^\s\[\]]{1,300})\[([^\]]{0,300})\]"
)
_REFERENCE = re.compile(r"<<[^,<>]{1,200}(?:,([^<>]{1,200}))?>>")
_INLINE_MACRO = re.compile(
    r"\b(?:image|icon|footnote|kbd|btn|menu|pass|stem|indexterm2?|anchor):{1,2}[^\s\[\]]{0,200}\[([^\]]{0,300})\]"
)
_NOTE = re.compile(r"\bfootnote:[^\s\[\]]{0,100}\[([^\]]{1,500})\]")
_MARKS = re.compile(r"(?<![\w*_`#])(\*\*|\*|__|_|``|`|##|#|\+)(?=\S)(.{1,500}?)(?<=\S)\1(?![\w*_`#])")
_ROLE = re.compile(r"\[\.?[\w.#-]{1,40}\](?=[*_`#])")
_ANCHOR = re.compile(r"\[\[[^\]]{1,100}\]\]")
_USE = re.compile(r"\{([\w-]{1,60})\}")
_BREAK = re.compile(r"[ \t]\+$")
_CELL = re.compile(r"(?<!\\)(?:(?:^|(?<=\s))(?:\d{0,3}(?:\.\d{1,3})?[+*])?[<^>]{0,2}(?:\.[<^>])?[adehlmsv]?)?\|")

_INNER_TABLE = re.compile(r"(?:(\[[^\]\n]{0,200}\])\s{0,9})?!={3,}\n(.{0,20000}?)\n!={3,}", re.DOTALL)
_INNER_CELL = re.compile(r"(?<!\\)(?:(?<=\s)|^)!", re.MULTILINE)


def read_adoc_file(content: bytes, name: str, outline: Outline) -> str:
    """Add the sections of a file, whose attributes become fields; "": its title is its first heading.

    Raises:
        SkippedError: the bytes are no text.
    """
    _Reader(decoded(content, name).replace("\r\n", "\n").split("\n"), outline).read()
    return ""


class _Reader:
    """Goes over the lines once."""

    def __init__(self, lines: list[str], outline: Outline) -> None:
        self._lines = lines
        self._next = 0
        self._outline = outline
        self._attributes: dict[str, str] = {}
        self._waiting: list[str] = []  # lines of the paragraph that is open
        self._is_in_header = False  # between the title and the first blank line
        self._block = ""  # the attributes of the block that comes next
        self._open: set[str] = set()  # delimiters of blocks of text that have begun

    def read(self) -> None:
        while self._next < len(self._lines):
            line = self._lines[self._next].rstrip()
            self._next += 1
            if not line:
                self._is_in_header = False
                self._flush()
            elif _DELIMITER.match(line) and (not self._waiting or line in self._open):
                self._flush()
                self._read_block(line)
            elif not self._is_taken(line):
                self._waiting.append(_BREAK.sub("", line.strip()))
        self._flush()

    def _is_taken(self, line: str) -> bool:
        """Whether a line is no text of a paragraph: a heading, an attribute, a list item, a macro, a comment."""
        if _COMMENT.match(line):
            return True
        if heading := _HEADING.match(line):
            self._flush()
            self._outline.add_heading(len(heading.group(1)), self._plain(heading.group(2)))
            self._is_in_header = len(heading.group(1)) == 1
        elif self._is_in_header and (author := _AUTHOR.match(line)):
            self._outline.add_field("author", author.group(1))
        elif self._is_in_header and _REVISION.match(line):
            self._outline.add_field("revision", line)
        elif attribute := _ATTRIBUTE.match(line):
            self._flush()
            self._attributes[attribute.group(1)] = attribute.group(2) or ""
            self._outline.add_field(attribute.group(1), attribute.group(2) or "")
        elif _BLOCK_LINE.match(line):
            self._flush()
            self._block = line.strip()
        elif macro := _MACRO_LINE.match(line):
            self._flush()
            if macro.group(1) in ("image", "video", "audio", "include"):
                self._outline.drop("included file" if macro.group(1) == "include" else "image")
        elif not self._waiting and (title := _BLOCK_TITLE.match(line)):
            self._outline.add_paragraph(self._plain(title.group(1)))
        elif item := _LIST_ITEM.match(line):
            self._flush()
            self._waiting.append(line[item.end() :])
        elif (term := _TERM.match(line)) and "://" not in line:
            self._flush()
            self._waiting.append(f"{term.group(1).strip()}: {term.group(2) or ''}".strip())
        elif line == "+" or line in ("'''", "<<<"):
            self._flush()
        else:
            return False
        return True

    def _read_block(self, delimiter: str) -> None:
        """What stands between two lines of the same marks."""
        mark = delimiter.strip()
        if mark[0] in "*=_" or mark == "--":  # holds text like any other
            self._open ^= {mark}
            self._block = ""
            return
        end = self._end_of_block("```" if mark.startswith("```") else mark)
        inside = self._lines[self._next : end]
        self._next = end + 1
        if mark[1:] == "===" or mark[1:].startswith("==="):
            self._outline.add_table(self._table_rows(inside, mark[0]), has_header=self._has_header(inside))
        elif not mark.startswith("////"):
            self._outline.add_code("\n".join(inside))
        self._block = ""

    def _end_of_block(self, mark: str) -> int:
        """The number of the line that closes the block; behind the last one when none does."""
        lines = range(self._next, len(self._lines))
        return next((number for number in lines if self._lines[number].rstrip() == mark), len(self._lines))

    def _has_header(self, inside: list[str]) -> bool | None:
        if "noheader" in self._block:
            return False
        follows_blank = len(inside) > 1 and inside[0].strip() != "" and inside[1].strip() == ""
        return True if "header" in self._block or follows_blank else None

    def _table_rows(self, inside: list[str], mark: str) -> list[list[str]]:
        if mark in ",:" or 'format="csv"' in self._block or "format=csv" in self._block:
            return list(csv.reader(inside, delimiter=":" if mark == ":" else ","))
        lines = [[self._plain(_INNER_TABLE.sub(self._inner_text, cell)) for cell in cells] for cells in _cells(inside)]
        num_columns = self._num_columns() or max((len(cells) for cells in lines), default=1)
        flat = [cell for cells in lines for cell in cells]
        return [flat[start : start + num_columns] for start in range(0, len(flat), num_columns)]

    def _inner_text(self, table: re.Match[str]) -> str:
        """A table in a cell, whose own cells begin with another mark, as its rows."""
        inside = _INNER_CELL.sub("|", table.group(2)).split("\n")
        rows = [[cell.strip() for cell in cells] for cells in _cells(inside)]
        has_header = "header" in (table.group(1) or "") or inside[1:2] == [""]
        return ". ".join(row_texts(rows, True if has_header else None))

    def _num_columns(self) -> int:
        columns = re.search(r'cols="?([^"\]]{1,200})', self._block)
        if columns is None:
            return 0
        repeated = [re.match(r"\s*(\d{1,3})\*", part) for part in columns.group(1).split(",")]
        return sum(int(found.group(1)) if found else 1 for found in repeated)

    def _flush(self) -> None:
        if self._waiting:
            self._outline.add_paragraph(self._plain(" ".join(self._waiting)))
            self._waiting = []

    def _plain(self, text: str) -> str:
        text = _USE.sub(lambda use: self._attributes.get(use.group(1), use.group()), text)
        text = _LINK.sub(r"\1", _ANCHOR.sub("", text))
        text = _REFERENCE.sub(lambda found: found.group(1) or "", text)
        text = _INLINE_MACRO.sub(r"\1", _NOTE.sub(r" (\1)", _ROLE.sub("", text)))
        return _MARKS.sub(r"\2", _MARKS.sub(r"\2", text))


def _cells(inside: list[str]) -> Iterator[list[str]]:
    """The cells that each line begins; text without a cell's mark goes on with the cell before it."""
    waiting: list[str] = []
    for line in inside:
        first, *cells = _CELL.split(line)
        if waiting and first.strip():
            waiting[-1] = f"{waiting[-1]}\n{first.strip()}"
        elif waiting and "!===" in waiting[-1]:
            waiting[-1] += "\n"
        if cells:
            if waiting:
                yield waiting
            waiting = [cell.strip() for cell in cells]
    if waiting:
        yield waiting


_SETTINGS = {
    "file_insertion_enabled": False,  # `include` would read other files
    "raw_enabled": False,
    "report_level": 5,
    "halt_level": 6,
    "input_encoding": "unicode",
    "_disable_config": True,
    "syntax_highlight": "none",
    "line_length_limit": 100_000,
    "doctitle_xform": True,
}
# What extensions (Sphinx above all) call what they insert, and how that is counted; "" is no loss.
_INSERTED = {
    **dict.fromkeys(("toctree", "index", "highlight", "currentmodule", "default-domain", "tabularcolumns"), ""),
    **dict.fromkeys(("automodule", "autoclass", "autofunction", "automethod", "autosummary", "doxygenfile"),
                    "documentation out of code"),
    **dict.fromkeys(("graphviz", "plantuml", "mermaid", "uml", "digraph", "inheritance-diagram", "youtube"), "image"),
    "literalinclude": "included file",
}  # fmt: skip
_CODE = frozenset(["prompt", "ipython", "testcode", "testoutput", "productionlist", "console", "jinja", "sourcecode"])
_CONDITIONS = frozenset(["only", "ifconfig", "grid", "tab-set", "tabs", "hlist", "glossary"])  # arguments are no text
_DIRECTIVE = re.compile(r"^[ \t]*\.\.[ \t]+(?:\|[^|\n]{1,100}\|[ \t]+)?([\w][\w:+.-]{0,60}?)::", re.MULTILINE)
_USED_ROLE = re.compile(r":([\w][\w:+.-]{0,60}):`|`:([\w][\w:+.-]{0,60}):(?![`\w])")
_TITLED = re.compile(r"^([^<>]{1,500}?)\s*<[^<>]{1,500}>$")
_INCLUDED = re.compile(r"^[ \t]*\.\.[ \t]+include::", re.MULTILINE)
_DROPPED = {"image": "image", "math_block": "", "comment": "", "label": "", "substitution_definition": "", "target": ""}


def read_rst_file(content: bytes, name: str, outline: Outline) -> str:
    """Add the sections, paragraphs, tables and code of a file; its title. Its leading field list becomes fields.

    Raises:
        SkippedError: the bytes are no text, or no such text.
    """
    text = decoded(content, name)
    _know_extensions(text)
    outline.drop("included file", len(_INCLUDED.findall(text)))
    try:
        document = docutils.core.publish_doctree(text, settings_overrides=_SETTINGS)
    except (docutils.utils.SystemMessage, ValueError, RecursionError, LookupError, TypeError, AttributeError) as error:
        raise SkippedError("broken reStructuredText", name, f"{type(error).__name__}: {error}"[:300]) from error
    walk(document, _RstNodes(outline).take, lambda node: isinstance(node, docutils.nodes.section))
    return str(document.get("title") or "")


class _Options(dict[str, Any]):
    """Takes any option of a directive: options are no text."""

    def __missing__(self, name: str) -> Any:
        return directives.unchanged


class _Extension(Directive):
    """A directive of an extension: its argument and content are text, but for those that insert something."""

    has_content = True
    optional_arguments = 1
    final_argument_whitespace = True
    option_spec = _Options(name=directives.unchanged)

    def run(self) -> list[Any]:
        """The text that it shows, as far as that can be told without the extension."""
        name = self.name.lower()
        if name in _INSERTED:
            return [docutils.nodes.pending(None, classes=[_INSERTED[name]])]
        if name in _CODE:
            return [docutils.nodes.literal_block(text="\n".join(self.content))]
        found = docutils.nodes.container()
        if self.arguments and name not in _CONDITIONS:
            words, messages = self.state.inline_text(self.arguments[0], self.lineno)
            found += [docutils.nodes.paragraph("", "", *words), *messages]
        self.state.nested_parse(self.content, self.content_offset, found)
        return [found]


def _shown(name: str, rawtext: str, text: str, *_: object, **__: object) -> tuple[list[Any], list[Any]]:
    """What a role of an extension shows: the title of its target, or the target."""
    titled = _TITLED.match(text)
    return [docutils.nodes.inline(rawtext, titled.group(1) if titled else text.lstrip("~!"))], []


def _know_extensions(text: str) -> None:
    """Let the directives and roles be read that are none of reStructuredText's own, by their names in the text."""
    language = docutils.languages.get_language("en", None)
    known = docutils.utils.new_document("")
    for name in {found.lower() for found in _DIRECTIVE.findall(text)}:
        if directives.directive(name, language, known)[0] is None:
            directives.register_directive(name, _Extension)
    for name in {(before or behind).lower() for before, behind in _USED_ROLE.findall(text)}:
        if roles.role(name, language, 0, known.reporter)[0] is None:
            roles.register_local_role(name, _shown)


class _RstNodes:
    """Adds the nodes of a parsed document, one after another."""

    def __init__(self, outline: Outline) -> None:
        self._outline = outline

    def take(self, node: Any, level: int) -> bool:
        """Add what a node holds as a whole; False when its children are to be looked at."""
        kind = node.tagname
        if kind in ("title", "subtitle", "rubric"):
            self._outline.add_heading(level if kind == "title" else level + 1, node.astext())
        elif kind in ("literal_block", "doctest_block", "math_block"):
            self._outline.add_code(node.astext())
        elif kind == "table":
            self._add_table(node)
        elif kind == "option_list_item":
            self._outline.add_paragraph(": ".join(child.astext() for child in node.children))
        elif kind == "topic" and "contents" in node.get("classes", ()):
            return True
        elif kind == "docinfo" or (kind == "field_list" and node.parent.tagname == "document"):
            self._add_fields(node)
        elif kind == "field":
            self._outline.add_paragraph(": ".join(child.astext() for child in node.children))
        elif kind in ("paragraph", "term", "attribution", "line", "caption", "#text", "inline", "reference"):
            self._outline.drop("image", len(list(node.findall(docutils.nodes.image))))
            self._outline.add_paragraph(node.astext())
        elif kind in _DROPPED or kind in ("system_message", "problematic", "pending", "raw"):
            for dropped in [_DROPPED.get(kind, ""), *(node.get("classes", ()) if kind == "pending" else ())]:
                if dropped:
                    self._outline.drop(dropped)
        else:
            return False
        return True

    def _add_table(self, table: Any) -> None:
        for title in table.findall(docutils.nodes.title):
            self._outline.add_paragraph(title.astext())
        self._outline.add_table(*_rst_rows(table))

    def _add_fields(self, node: Any) -> None:
        for field in node.children:
            if isinstance(field, docutils.nodes.field):
                name, body = (child.astext() for child in field.children[:2])
                self._outline.add_field(name, body)
            else:
                self._outline.add_field(field.tagname, field.astext())


def _rst_rows(table: Any) -> tuple[list[list[str]], bool]:
    """The rows of a table, those of a table in a cell as its text; and whether the first names the columns."""
    heads = list(_own_nodes(table, docutils.nodes.thead))
    rows = [[_entry_text(entry) for entry in row.children] for row in _own_nodes(table, docutils.nodes.row)]
    return rows, bool(heads)


def _own_nodes(table: Any, kind: type) -> Iterator[Any]:
    for node in table.findall(kind):
        above = node.parent
        while not isinstance(above, docutils.nodes.table):
            above = above.parent
        if above is table:
            yield node


def _entry_text(entry: Any) -> str:
    tables = [child for child in entry.children if isinstance(child, docutils.nodes.table)]
    if not tables:
        return str(entry.astext())
    texts = [child.astext() for child in entry.children if child not in tables]
    return " ".join([*texts, *(". ".join(row_texts(*_rst_rows(table))) for table in tables)])
