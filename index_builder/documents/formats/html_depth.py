"""Pages nested deeper than any browser nests them, flattened: a parser's time grows with the square of the depth."""

from __future__ import annotations

import re

MAX_DEPTH = 400  # browsers stop at some 500
_TAG = re.compile(r"<(/?)([a-zA-Z][a-zA-Z0-9:-]{0,40})(?=[\s/>])[^<>]{0,2000}>|<(/?)([a-zA-Z][a-zA-Z0-9:-]{0,40})>")
# They end where the next of their kind begins, or hold nothing: an open one is no depth.
_FLAT_NAMES = (
    "p li dt dd td th tr thead tbody tfoot option optgroup colgroup rp rt area base br col embed hr img input link "
    "meta source track wbr param script style textarea title"
)
_FLAT = frozenset(_FLAT_NAMES.split())


def flattened(markup: str) -> str:
    """`markup` without the tags of elements below a depth of MAX_DEPTH; their text stays."""
    if markup.count("<") <= MAX_DEPTH:
        return markup
    pieces: list[str] = []
    depth = position = 0
    for tag in _TAG.finditer(markup):
        name = (tag.group(2) or tag.group(4)).lower()
        if name in _FLAT:
            continue
        closes = bool(tag.group(1) or tag.group(3))
        depth = max(0, depth - 1) if closes else depth + 1
        if depth > MAX_DEPTH or (closes and depth == MAX_DEPTH):
            pieces.append(markup[position : tag.start()])
            position = tag.end()
    return "".join([*pieces, markup[position:]]) if pieces else markup
