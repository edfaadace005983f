"""Structured data that no table describes: XML of any vocabulary, JSON, and notebooks of Jupyter."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from index_builder.documents.compressed import plain_stem
from index_builder.documents.document import SkippedError
from index_builder.documents.encodings import decoded
from index_builder.documents.formats.html_page import read_html
from index_builder.documents.formats.text import read_markdown, read_text
from index_builder.documents.outline import Outline, one_line

_TITLES = frozenset(["title", "head", "heading", "h1", "h2", "h3", "h4", "h5", "h6", "caption", "subtitle"])
_ROWS, _CELLS = frozenset(["row", "tr"]), frozenset(["entry", "td", "th", "cell"])
_NAMES = ("title", "name", "subject", "headline", "id")
_MAX_VALUES = 200_000
_MAX_DEPTH = 200
_IMAGE = "image"


def read_xml_file(content: bytes, name: str, outline: Outline) -> str:
    """Add the text of an XML file's elements: titles as headings, rows of tables and records as rows; "": its title is
    its first heading.

    Raises:
        SkippedError: it is broken.
    """
    from lxml import etree

    try:
        root = etree.fromstring(content, etree.XMLParser(resolve_entities=False, no_network=True, remove_comments=True))
    except (etree.XMLSyntaxError, ValueError) as error:
        raise SkippedError("broken XML", name, str(error)[:300]) from error
    _XmlWalk(outline).read(root)
    return ""


class _XmlWalk:
    """One walk over the elements, without recursion."""

    def __init__(self, outline: Outline) -> None:
        self._outline = outline

    def read(self, root: Any) -> None:
        stack: list[tuple[Any, int]] = [(root, 1)]
        while stack:
            element, level = stack.pop()
            if not isinstance(element.tag, str):
                continue
            if not self._take(element, level):
                stack.extend((child, level + 1) for child in reversed(element))

    def _take(self, element: Any, level: int) -> bool:
        """Add what an element holds as a whole; False when its children are to be looked at."""
        tag = _local(element)
        children = [child for child in element if isinstance(child.tag, str)]
        if tag in _TITLES:
            self._outline.add_heading(max(1, level - 1), _text(element))
        elif tag in _ROWS and any(_local(child) in _CELLS for child in children):
            self._outline.add_paragraph("; ".join(filter(None, (_text(child) for child in children))))
        elif not children or _is_mixed(element, children):
            self._outline.add_paragraph(_text(element) or _attributes(element))
        elif len(children) > 1 and not any(len(child) for child in children) and len(_labels(children)) > 1:
            values = [_attributes(element), *(_labelled(child) for child in children)]
            self._outline.add_paragraph("; ".join(filter(None, values)))
        else:
            return False
        return True


def _local(element: Any) -> str:
    return str(element.tag).rpartition("}")[2].lower()


def _labels(children: list[Any]) -> set[str]:
    return {_local(child) for child in children}


def _labelled(child: Any) -> str:
    value = _text(child) or _attributes(child)
    return f"{_local(child)}: {value}" if value else ""


def _attributes(element: Any) -> str:
    return "; ".join(f"{str(key).rpartition('}')[2]}: {value}" for key, value in element.attrib.items() if value)


def _text(element: Any) -> str:
    return one_line("".join(element.itertext()))


def _is_mixed(element: Any, children: list[Any]) -> bool:
    """Whether words stand beside the children: a paragraph with marks in it."""
    return bool((element.text or "").strip()) or any((child.tail or "").strip() for child in children)


def read_json_file(content: bytes, name: str, outline: Outline) -> str:
    """Add the values of a JSON file, each behind its keys; a list of flat objects as a table; what it calls itself.

    Raises:
        SkippedError: it is broken.
    """
    value = _loaded(content, name)
    if isinstance(value, list) and value and all(_is_flat(each) for each in value):
        keys = list(dict.fromkeys(key for each in value for key in each))
        outline.add_table([keys, *([_written(each.get(key)) for key in keys] for each in value)], has_header=True)
        return ""
    for number, (keys_above, found) in enumerate(_values(value)):
        if number >= _MAX_VALUES:
            outline.drop("values of a file over the size limit")
            break
        label = _label(keys_above)
        read_text(f"{label}: {found}" if label else found, outline)
    if not isinstance(value, dict):
        return ""
    return next((value[key] for key in _NAMES if isinstance(value.get(key), str)), "")


def read_json_lines_file(content: bytes, name: str, outline: Outline) -> str:
    """Add a row for every object in a file of one a line, each value behind its keys; lines that are none are counted.

    Raises:
        SkippedError: the bytes are no text.
    """
    for line in decoded(content, name).split("\n"):
        try:
            values = _values(json.loads(line)) if line.strip() else ()
        except (ValueError, RecursionError):
            outline.drop("broken JSON line")
            continue
        outline.add_paragraph("; ".join(f"{_label(keys)}: {value}".removeprefix(": ") for keys, value in values))
    return ""


def _label(keys: tuple[str | int, ...]) -> str:
    return " ".join(key for key in keys if isinstance(key, str))


def _loaded(content: bytes, name: str) -> Any:
    try:
        return json.loads(decoded(content, name).removeprefix("\ufeff"))
    except (ValueError, RecursionError) as error:
        raise SkippedError("broken JSON", name, str(error)[:300]) from error


def _is_flat(value: object) -> bool:
    return isinstance(value, dict) and not any(isinstance(each, dict | list) for each in value.values())


def _written(value: object) -> str:
    return "" if value is None else str(value).lower() if isinstance(value, bool) else str(value)


def _values(root: object) -> Iterator[tuple[tuple[str | int, ...], str]]:
    """Every value with the keys above it, in order."""
    stack: list[tuple[tuple[str | int, ...], object]] = [((), root)]
    while stack:
        keys, value = stack.pop()
        inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else None
        if inner is None:
            if text := _written(value):
                yield keys, text
        elif len(keys) < _MAX_DEPTH:
            stack.extend(((*keys, key), each) for key, each in reversed(list(inner)))


def read_notebook_file(content: bytes, name: str, outline: Outline) -> str:
    """Add a notebook's text, code and what the code has printed; "": its title is its first heading.

    Raises:
        SkippedError: it is broken, or no notebook.
    """
    notebook = _loaded(content, name)
    cells = notebook.get("cells") if isinstance(notebook, dict) else None
    if not isinstance(cells, list):
        raise SkippedError("broken notebook", name, "it has no cells")
    for cell in (each for each in cells if isinstance(each, dict)):
        kind, source = cell.get("cell_type"), _joined(cell.get("source"))
        if kind == "markdown":
            read_markdown(source, outline)
        elif kind == "code":
            outline.add_code(source)
            for output in cell.get("outputs") or []:
                _add_output(output, outline)
        else:
            read_text(source, outline)
    return plain_stem(name) if not outline.has_headings else ""


def _add_output(output: object, outline: Outline) -> None:
    if not isinstance(output, dict):
        return
    shown = output.get("data")
    forms = shown if isinstance(shown, dict) else {}
    if any(key.startswith("image/") for key in forms):
        outline.drop(_IMAGE)
    elif "text/html" in forms:
        read_html(_joined(forms["text/html"]), outline)
    elif "text/markdown" in forms:
        read_markdown(_joined(forms["text/markdown"]), outline)
    elif output.get("output_type") == "error":
        outline.add_paragraph(f"{output.get('ename', '')}: {output.get('evalue', '')}")
    else:
        outline.add_code(_joined(output.get("text") or forms.get("text/plain")))


def _joined(source: object) -> str:
    return "".join(str(each) for each in source) if isinstance(source, list) else str(source or "")
