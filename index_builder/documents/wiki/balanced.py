"""Markup that nests, removed or unfolded in one pass: templates, tables, links, and elements without prose."""

from __future__ import annotations

import re

from index_builder.documents.wiki.templates import template_text

# Elements whose content is no prose.
_DROPPED = (
    "ref|references|math|chem|ce|gallery|timeline|score|syntaxhighlight|source|imagemap|hiero|table|graph|mapframe|"
    "maplink|templatedata|style|noinclude|inputbox|categorytree|section|indicator|includeonly"
)
_OPEN_ELEMENT = re.compile(rf"<({_DROPPED})\b[^<>]{{0,1000}}?(/?)>", re.IGNORECASE)
_CLOSE_ELEMENT = {name: re.compile(rf"</{name}\s{{0,9}}>", re.IGNORECASE) for name in _DROPPED.split("|")}
_TOKEN = re.compile(r"\{\{|\}\}|^[ \t:]*\{\||^[ \t]*\|\}|\[\[|\]\]", re.MULTILINE)
_CLOSES = {"}}": "{{", "|}": "{|", "]]": "[["}
_WITHOUT_PROSE = "file image category media wikt s commons q n b d m species meta v voy c"
_NAMESPACES_WITHOUT_PROSE = frozenset(_WITHOUT_PROSE.split())
_LANGUAGE_PREFIX = re.compile(r"^[a-z]{2,3}(?:-[a-z-]+)?$|^simple$")


def drop_elements(text: str) -> str:
    """`text` without references, math, galleries and other elements that hold no prose.

    An element that never closes loses its tag only: the text after it stays.
    """
    pieces: list[str] = []
    unclosed: set[str] = set()  # names not closed anywhere ahead, so that no search is made twice
    position = 0
    while match := _OPEN_ELEMENT.search(text, position):
        pieces.append(text[position : match.start()])
        position = match.end()
        name = match.group(1).lower()
        if match.group(2) or name in unclosed:
            continue
        close = _CLOSE_ELEMENT[name].search(text, position)
        if close is None:
            unclosed.add(name)
            continue
        position = close.end()
    pieces.append(text[position:])
    return "".join(pieces)


def unfold(text: str) -> str:
    """`text` without tables, with templates replaced by the prose they carry and links by their labels.

    Nesting may be of any depth and need not be balanced: what never closes keeps its text.
    """
    stack: list[tuple[str, list[str]]] = []  # (opening token, pieces inside it)
    pieces: list[str] = []
    position = 0
    for match in _TOKEN.finditer(text):
        pieces.append(text[position : match.start()])
        position = match.end()
        token = match.group().strip(" \t:")
        if token not in _CLOSES:
            stack.append((token, pieces))
            pieces = []
        elif stack and stack[-1][0] == _CLOSES[token]:
            inner = "".join(pieces)
            pieces = stack.pop()[1]
            pieces.append(_unfolded(token, inner))
        elif any(opening == _CLOSES[token] for opening, _ in stack[-8:]):
            pieces = _close_through(_CLOSES[token], stack, pieces)
    pieces.append(text[position:])
    unclosed = [piece for _, outer in stack for piece in outer]
    return "".join(unclosed + pieces)


def _close_through(opening: str, stack: list[tuple[str, list[str]]], pieces: list[str]) -> list[str]:
    """Close `opening` although something inside it never closed: the unclosed part stays as text within it."""
    while True:
        token, outer = stack.pop()
        inner = "".join(pieces)
        pieces = outer
        if token == opening:
            close = next(close for close, start in _CLOSES.items() if start == opening)
            pieces.append(_unfolded(close, inner))
            return pieces
        pieces.append(inner)


def _unfolded(close: str, inner: str) -> str:
    if close == "}}":
        return template_text(inner)
    if close == "|}":
        return ""
    return _link_text(inner)


def _link_text(inner: str) -> str:
    target, _, label = inner.partition("|")
    prefix, colon, rest = target.partition(":")
    prefix = prefix.strip().lower()
    if colon and (prefix in _NAMESPACES_WITHOUT_PROSE or (_LANGUAGE_PREFIX.match(prefix) and not label)):
        return ""
    if "|" in inner:
        return label or rest or target
    return target.lstrip(":")
