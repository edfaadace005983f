"""What stands before a text about it: YAML between two lines of dashes."""

from __future__ import annotations

import datetime
import re

import yaml

from index_builder.documents.outline import Outline

_FRONT_MATTER = re.compile(r"\A\ufeff?---[ \t]*\n(.{0,20000}?)\n(?:---|\.\.\.)[ \t]*(?:\n|\Z)", re.DOTALL)
_TITLE = re.compile(r"^title[ \t]*:[ \t]*(.{1,500})$", re.MULTILINE)
_SCALARS = (str, int, float, bool, datetime.date, datetime.datetime)


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
