"""The settings as a document: `python -m server.settings_table > docs/settings.md`."""

from __future__ import annotations

import re
import typing
from itertools import pairwise
from pathlib import Path
from types import NoneType, UnionType
from typing import Any

from pydantic.fields import FieldInfo

from server import config
from server.config import PREFIX, Settings

_HEAD = """# Settings

Environment variables, read once at the start. An unknown one or a value that is not legal stops the start with one
sentence that says what is. Made from `server/config.py` by `python -m server.settings_table`; a test compares them.
"""

_DECLARED = re.compile(r"    (\w+): ")
_REMARK = re.compile(r"  # (?:noqa: \w+ - )?((?!noqa).+)$")


def document() -> str:
    """The whole page: a table for each group of settings, in the order of the class."""
    notes, groups = _comments()
    parts = [_HEAD]
    for name, field in Settings.model_fields.items():
        if name in groups:
            parts.append(f"\n## {groups[name]}\n\n| setting | default | legal | what for |\n|---|---|---|---|\n")
        cells = (f"`{PREFIX}{name.upper()}`", _default(field), _legal(field), notes.get(name, ""))
        parts.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |\n")
    return "".join(parts)


def _comments() -> tuple[dict[str, str], dict[str, str]]:
    """What is remarked on each field, beside or above it, and the title of the group that begins with a field."""
    notes: dict[str, str] = {}
    groups: dict[str, str] = {}
    lines = Path(config.__file__).read_text("utf-8").splitlines()
    field, title, above = "", "", []
    for before, line in pairwise(lines):
        declared = _DECLARED.match(line)
        if declared and declared[1] in Settings.model_fields:
            field = declared[1]
            groups |= {field: title} if title else {}
            title = ""
        elif line.lstrip().startswith("# "):
            if not before.strip():
                title = line.strip("# ").rstrip(".").split(":")[0]
            else:
                above.append(line.strip("# "))
            continue
        elif not line.strip():
            field, above = "", []
        said = _REMARK.search(line)
        found = [*above, *([said[1]] if said and field else [])]
        if field and found:
            notes[field] = " ".join(filter(None, [notes.get(field, ""), *found]))
        above = []
    return notes, groups


def _default(field: FieldInfo) -> str:
    value = field.get_default(call_default_factory=True)
    if value is None or str(value) in ("", "**********"):
        return ""
    return f"`{str(value).lower() if isinstance(value, bool) else value}`"


def _legal(field: FieldInfo) -> str:
    limits = {type(each).__name__: each for each in field.metadata}
    words = [_kind(field.annotation)]
    for name, sign in (("Ge", "≥"), ("Gt", ">"), ("Le", "≤"), ("Lt", "<")):
        if name in limits:
            words.append(f"{sign} {getattr(limits[name], name.lower()):g}")
    return ", ".join(filter(None, words))


def _kind(annotation: Any) -> str:
    if typing.get_origin(annotation) is typing.Literal:
        return ", ".join(f"`{each}`" for each in typing.get_args(annotation))
    if isinstance(annotation, UnionType):
        return " or ".join(_kind(each) for each in typing.get_args(annotation) if each is not NoneType)
    names = {bool: "`true`, `false`", int: "whole number", float: "number", Path: "path"}
    return names.get(annotation, "")


if __name__ == "__main__":
    print(document(), end="")
