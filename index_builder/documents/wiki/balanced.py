"""Markup that nests, removed or unfolded in one pass: templates, tables, links, and elements without prose. Most
templates show none of their arguments, some hold words of a sentence.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator

from index_builder.documents.outline import Cell, row_texts, span, spread
from index_builder.documents.wiki.site import HATNOTES, POSITIONS, PREFIXES, SYMBOLS, UNITS, Site, link_text
from index_builder.documents.wiki.template_readers import NUMBER, READERS, WITH_ARGUMENTS, Call, centuries

# Elements whose content is no prose, and how each is counted.
_DROPPED = {
    **dict.fromkeys(("ref", "references"), "reference"),
    **dict.fromkeys(("gallery", "imagemap", "graph", "mapframe", "maplink", "timeline", "hiero", "score"), "image"),
    **dict.fromkeys(("templatedata", "style", "inputbox", "categorytree", "indicator", "includeonly"), ""),
}
_OPEN_ELEMENT = re.compile(
    rf"<({'|'.join(sorted(_DROPPED, key=len, reverse=True))})\b[^<>]{{0,1000}}?(/?)>", re.IGNORECASE
)
_CLOSE_ELEMENT = {name: re.compile(rf"</{name}\s{{0,9}}>", re.IGNORECASE) for name in _DROPPED}
_TOKEN = re.compile(r"\{\{|\}\}|^[ \t:]*\{\||^[ \t]*\|\}|\[\[|\]\]", re.MULTILINE)
_CLOSES = {"}}": "{{", "|}": "{|", "]]": "[["}
_NO_PROSE = re.compile(
    r"class\s*=\s*[\"']?[^\"'\n]*\b(?:infobox|navbox|sidebar|metadata|ambox|mbox|vertical-navbox|toc|navigation)\b",
    re.IGNORECASE,
)
_SPAN = re.compile(r"(row|col)span\s*=\s*(\"?'?\d{1,5})", re.IGNORECASE)
_ATTRIBUTES = re.compile(
    r"^\s*(?:[\w-]{1,30}\s*=\s*(?:\"[^\"\n]{0,500}\"|'[^'\n]{0,500}'|[^\s|\"']{1,200})\s*|nowrap\s*)+$"
)
_SPACE = re.compile(r"\s+")
_ITEM = re.compile(r"\s*\n[*#:;]+\s*")
_TAG = re.compile(r"</?[a-zA-Z][^<>]{0,500}>")


def drop_elements(text: str, dropped: Counter[str]) -> str:
    """`text` without references, galleries and other elements that hold no prose, which are counted by kind.

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
        if _DROPPED[name]:
            dropped[_DROPPED[name]] += 1
    pieces.append(text[position:])
    return "".join(pieces)


class Unfolder:
    """Replaces templates by the prose they carry, links by what a reader sees, tables by their rows.

    Nesting may be of any depth and need not be balanced: what never closes keeps its text.
    """

    def __init__(self, site: Site, dropped: Counter[str]) -> None:
        self._site = site
        self._dropped = dropped

    def unfold(self, text: str) -> str:
        """`text` without nesting markup."""
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
                pieces.append(self._unfolded(token, inner))
            elif any(opening == _CLOSES[token] for opening, _ in stack[-8:]):
                pieces = self._close_through(_CLOSES[token], stack, pieces)
        pieces.append(text[position:])
        unclosed = [piece for _, outer in stack for piece in outer]
        return "".join(unclosed + pieces)

    def _close_through(self, opening: str, stack: list[tuple[str, list[str]]], pieces: list[str]) -> list[str]:
        """Close `opening` although something inside it never closed: the unclosed part stays as text within it."""
        while True:
            token, outer = stack.pop()
            inner = "".join(pieces)
            pieces = outer
            if token == opening:
                close = next(close for close, start in _CLOSES.items() if start == opening)
                pieces.append(self._unfolded(close, inner))
                return pieces
            pieces.append(inner)

    def _unfolded(self, close: str, inner: str) -> str:
        if close == "}}":
            text, kind = template_text(inner)
        elif close == "|}":
            text, kind = table_text(inner)
        else:
            text, kind = link_text(inner, self._site)
        if kind:
            self._dropped[kind] += 1
        return text


def table_text(inner: str) -> tuple[str, str]:
    """A table, whose cells' markup is plain text already, as lines of a row each; and how it is counted when it is no
    part of the text, else "".
    """
    attributes, _, body = inner.partition("\n")
    if _NO_PROSE.search(attributes):
        return "", "infobox or navigation box"
    caption, rows = _written(body)
    found, has_header = spread(rows)
    lines = [*([caption] if caption else []), *row_texts(found, has_header)]
    return "\n" + "".join(f"{line}\n" for line in lines), ""


def _written(body: str) -> tuple[str, list[list[Cell]]]:
    """The caption, and the rows with their cells as they are written."""
    caption = ""
    rows: list[list[Cell]] = [[]]
    kind, waiting = "", ""  # what begins the cell that is open, and its text so far

    def close() -> None:
        nonlocal caption, waiting
        if kind == "+":
            caption = _plain(_content(waiting)[0])
        elif kind:
            rows[-1].extend(_cells(waiting, kind))
        waiting = ""

    for line in body.split("\n"):
        begins = line.lstrip()
        if begins.startswith(("|-", "|+", "|", "!")):
            close()
            if begins.startswith("|-"):
                rows.append([])
                kind = ""
            else:
                kind = "+" if begins.startswith("|+") else begins[0]
                waiting = begins[2 if kind == "+" else 1 :]
        elif kind:
            waiting = f"{waiting}\n{line}"
    close()
    return caption, [row for row in rows if row]


def _cells(text: str, kind: str) -> Iterator[Cell]:
    """The cells of one line, which || (and !! between headings) part."""
    for written in re.split(r"\|\||!!" if kind == "!" else r"\|\|", text):
        content, attributes = _content(written)
        spans = {name.lower(): span(value) for name, value in _SPAN.findall(attributes)}
        yield Cell(_plain(content), kind == "!", spans.get("row", 1), across=spans.get("col", 1))


def _content(written: str) -> tuple[str, str]:
    """A cell's text, and the attributes that stand before it."""
    before, bar, after = written.partition("|")
    return (after, before) if bar and (_ATTRIBUTES.match(before) or not before.strip()) else (written, "")


def _plain(text: str) -> str:
    items = _ITEM.sub(", ", _TAG.sub(" ", text).strip(" \n*#:;|"))
    return _SPACE.sub(" ", items).strip(" *#:;|,")


_CITATION = re.compile(
    r"^(?:cite\b|citation\b|citation/|vcite|harv|sfn|sfr|literatur$|internetquelle|citar|"
    r"cita (?:web|libro|news|pubblicazione)|"
    r"ouvrage|article$|lien web|lien brisé|web$|книга|статья|cytuj|citeer|webbref|bokref|rp$|r$|refn|efn|note|notelist|"
    r"הערה|הערת שוליים|مرجع|استشهاد|یادکرد|پانویس|odn$|odnośnik|przypis|viite|lähde|注$|脚注|сноска|fn$|kilde|"
    r"reflist|références|refs|referenser|#tag:ref)",
    re.IGNORECASE,
)
_CENTURIES = re.compile(r"^-?s[p2]?-?$|^siècles?$|^-?s-?av jc$|^(?:[ivx]+)e siècle(?: av\. j\.-c\.)?$", re.IGNORECASE)
_ROMAN_CENTURY = re.compile(r"^([ivx]+)(er?|e) (siècles?|millénaire)(.*)$", re.IGNORECASE)
_CASE = {"lc": str.lower, "uc": str.upper, "lcfirst": lambda text: text[:1].lower() + text[1:]}
_UNKNOWN, _REFERENCE, _HATNOTE = "template without known text", "reference", "note above an article or section"
_PLAIN_UNITS = frozenset(
    [
        "m", "km", "cm", "mm", "kg", "g", "mg", "t", "l", "ml", "ha", "h", "min", "s", "%", "°", "km/h", "kw", "mw",
        "gw", "w", "v", "a", "hz", "khz", "mhz", "ghz", "pa", "hpa", "bar",
    ]
)  # fmt: skip


def template_text(inner: str) -> tuple[str, str]:
    """What a reader sees of `{{inner}}`, whose own nested templates and links are plain text already; and how it is
    counted when nothing is known to be seen, else "".
    """
    name, bar, rest = inner.partition("|")
    call = Call(_plain_name(name), rest if bar else "")
    if (function := _parser_function(name, rest, bar)) is not None:
        return function, ""
    text = _text(call, bool(bar))
    if text is not None:
        return text, ""
    if call.name in HATNOTES:
        return "", _HATNOTE
    if _CITATION.match(call.name):
        return "", _REFERENCE
    guessed = _guess(call)
    return guessed, "" if guessed else _UNKNOWN


def _plain_name(name: str) -> str:
    return re.sub(r"\s+", " ", name.replace("_", " ")).strip().lower().removeprefix("template:").strip()


def _parser_function(name: str, rest: str, bar: str) -> str | None:
    """The functions of MediaWiki itself that show what they are given."""
    function, colon, argument = name.partition(":")
    function = function.strip().lower()
    if not colon:
        return None
    if function in ("formatnum", "nowrap"):
        return argument.strip()
    if function in _CASE:
        return _CASE[function](argument.strip())
    if function == "ucfirst":
        return argument.strip()[:1].upper() + argument.strip()[1:]
    if function == "plural":
        return rest.split("|")[-1 if argument.strip() != "1" else 0].strip() if bar else ""
    if function in ("#if", "#ifeq"):
        return _chosen(function, argument, rest.split("|"))
    if function in ("defaultsort", "#related", "#seo", "displaytitle"):
        return ""
    return None


def _chosen(function: str, argument: str, rest: list[str]) -> str:
    """What a condition shows: of `#if` by whether there is anything, of `#ifeq` by whether both are equal."""
    is_true = bool(argument.strip()) if function == "#if" else argument.strip() == rest.pop(0).strip()
    return (rest[0] if is_true else rest[1] if len(rest) > 1 else "").strip() if rest else ""


def _text(call: Call, has_arguments: bool) -> str | None:
    """The text of a template that is known; None of another."""
    name = call.name
    if name in SYMBOLS and not (has_arguments and name in WITH_ARGUMENTS):
        return SYMBOLS[name]
    if name in HATNOTES:
        return None
    if found := _ROMAN_CENTURY.match(name):
        return f"{found.group(1).upper()}{found.group(2)} {found.group(3)}{found.group(4)}"
    if not has_arguments:
        return None
    for names, read in READERS:
        if name in names:
            return read(call)
    if name.startswith("lang-"):
        return call.argument(1) or call.named.get("text", "")
    if _CENTURIES.match(name):
        return centuries(call)
    if name in POSITIONS or name in PREFIXES:
        found_text = [text for text in (call.argument(position) for position in POSITIONS.get(name, (1,))) if text]
        return PREFIXES.get(name, "") + (" ".join(found_text) or call.named.get("text", ""))
    return None


def _guess(call: Call) -> str:
    """A template that is not known, but begins with a number and a unit."""
    number, unit = call.argument(1), call.argument(2)
    if NUMBER.match(number) and unit.lower() in UNITS | dict.fromkeys(_PLAIN_UNITS, ""):
        return f"{number} {UNITS.get(unit.lower(), unit)}"
    return ""
