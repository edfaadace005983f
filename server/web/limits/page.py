"""The limits as a document: `python -m server.web.limits.page > docs/limits.md`."""

from __future__ import annotations

import re
from pathlib import Path

from server.web.limits import table

_HEAD = """# Limits

What keeps one client from taking the server from the others. A request over one of them is refused with the field, the
value found and the limit. Made from `server/web/limits/table.py` by `python -m server.web.limits.page`; a test compares
them, and another posts one more than each. What an operator may change is a [setting](settings.md).
"""
_LIMIT = re.compile(r"(?P<name>[A-Z_]+) = [^#]+(?:# (?P<remark>.+))?$")


def document() -> str:
    """The whole page: a table for each group of limits, in the order of the module."""
    parts = [_HEAD]
    title, above = "", ""
    for block in Path(table.__file__).read_text("utf-8").split("\n\n")[2:]:
        lines = block.strip().splitlines()
        title = lines[0].removeprefix("# ")
        parts.append(f"\n## {title.split('.')[0]}\n\n{_rest(title)}| limit | value | of what |\n|---|---|---|\n")
        for line in lines[1:]:
            found = _LIMIT.match(line)
            if found is None:
                above = f"{above} {line.removeprefix('# ')}".strip()
                continue
            remark, above = " ".join(filter(None, [above, found["remark"]])), ""
            parts.append(f"| `{found['name']}` | {getattr(table, found['name']):,} | {remark} |\n")
    return "".join(parts)


def _rest(title: str) -> str:
    """The sentences behind a title."""
    rest = title.partition(". ")[2]
    return f"{rest}\n\n" if rest else ""


if __name__ == "__main__":
    print(document(), end="")
