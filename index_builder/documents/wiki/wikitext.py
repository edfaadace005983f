"""Wiki markup to plain sections, in a few linear passes.

A full parse (mwparserfromhell) reads about 1.6 MB/s on one core; retrieval needs prose only, so markup is removed by
scanners that look at every character a bounded number of times, whatever the page holds.
"""

from __future__ import annotations

import html
import re

from index_builder.documents.document import Section
from index_builder.documents.wiki.balanced import drop_elements, unfold

_APPENDICES = (
    "see also|references|external links|further reading|notes|footnotes|citations|bibliography|sources|notes and "
    "references|references and notes|works cited|literature|general references|primary sources|secondary sources|"
    "endnotes|citations and notes|footnotes and references|references and footnotes|explanatory notes|gallery|"
    "selected bibliography|external resources|notes and citations|footnotes and citations"
)
APPENDICES = frozenset(_APPENDICES.split("|"))

_COMMENT = re.compile(r"<!--.*?(?:-->|\Z)", re.DOTALL)
_NOWIKI = re.compile(r"<nowiki>(.*?)(?:</nowiki>|\Z)", re.DOTALL | re.IGNORECASE)
# Shields literal markup characters from the passes below; private-use code points never occur in prose.
_SHIELD = str.maketrans("[]{}|='<>&", "\ue000\ue001\ue002\ue003\ue004\ue005\ue006\ue007\ue008\ue009")
_UNSHIELD = {shield: plain for plain, shield in _SHIELD.items()}
_SIMPLE_LINK = re.compile(r"\[\[(?:[^\[\]|{}\n:]{1,300}\|)?([^\[\]|{}\n:]{1,300})\]\]")
_URL_LINK = re.compile(r"\[(?:https?:|ftp:|mailto:)?//[^\s\[\]]{1,2000}(?:[ \t]+([^\[\]\n]{0,500}))?\]")
_TAG = re.compile(r"</?[a-zA-Z][^<>]{0,500}>")
_BREAK = re.compile(r"<\s?/?(?:br|p|div|li|hr)\b[^<>]{0,200}>", re.IGNORECASE)
_QUOTES = re.compile(r"'{2,5}")
_SWITCH = re.compile(r"__[A-Z]{3,30}__")
_HEADING = re.compile(r"^(={1,6})[ \t]*([^\n]{0,300}?)[ \t]*\1[ \t]*$", re.MULTILINE)
_SPACE = re.compile(r"[ \t\u00a0\u2002-\u200a\u202f\u3000]+")
_EMPTY_BRACKETS = re.compile(r"\([\s,;:–-]{0,20}\)|\[[\s,;]{0,20}\]")
_BRACKET_START = re.compile(r"\([\s,;:]{1,20}")
_BRACKET_END = re.compile(r"[\s,;:]{1,20}\)")
_BEFORE_STOP = re.compile(r" ([,.;:!?)])(?=\s|$)")
_DOUBLED_COMMA = re.compile(r",(?: ?,){1,10}")
_BULLET = re.compile(r"^[*#:;]+[ \t]*")
_LETTER = re.compile(r"[^\W\d_]")


def sections(text: str) -> tuple[Section, ...]:
    """The prose of a page, by heading; appendices (references, links...), tables, templates and math are left out.

    Sections without prose are left out too, so an empty tuple means a page without any.
    """
    found = []
    for heading, body in _split_headings(_strip(text)):
        paragraphs = _paragraphs(body)
        if paragraphs:
            found.append(Section(heading, paragraphs))
    return tuple(found)


def plain(markup: str) -> str:
    """One line of markup as plain text."""
    return " ".join(_paragraphs(_strip(markup)))


def _strip(text: str) -> str:
    text = _COMMENT.sub("", text)
    text = _NOWIKI.sub(lambda m: m.group(1).translate(_SHIELD), text)
    text = drop_elements(text)
    text = _SIMPLE_LINK.sub(r"\1", text)
    text = unfold(text)
    text = _URL_LINK.sub(r"\1", text)
    text = _BREAK.sub("\n", text)
    text = _TAG.sub("", text)
    text = _QUOTES.sub("", text)
    text = _SWITCH.sub("", text)
    return html.unescape(text).translate(_UNSHIELD)


def _split_headings(text: str) -> list[tuple[str, str]]:
    """(path of headings, body) in order; appendices and everything below them are dropped."""
    found: list[tuple[str, str]] = []
    path: dict[int, str] = {}
    heading, start = "", 0
    for match in _HEADING.finditer(text):
        _keep(found, path, heading, text[start : match.start()])
        level, start = len(match.group(1)), match.end()
        path = {depth: name for depth, name in path.items() if depth < level}
        path[level] = match.group(2).strip()
        heading = " > ".join(path[depth] for depth in sorted(path))
    _keep(found, path, heading, text[start:])
    return found


def _keep(found: list[tuple[str, str]], path: dict[int, str], heading: str, body: str) -> None:
    if not any(name.lower() in APPENDICES for name in path.values()):
        found.append((heading, body))


def _paragraphs(body: str) -> tuple[str, ...]:
    """The lines that hold words, without bullets, doubled spaces and what removed markup left behind."""
    body = _SPACE.sub(" ", body)
    body = _EMPTY_BRACKETS.sub("", body)
    body = _BRACKET_START.sub("(", body)
    body = _BRACKET_END.sub(")", body)
    body = _BEFORE_STOP.sub(r"\1", _SPACE.sub(" ", body))
    body = _DOUBLED_COMMA.sub(",", body)
    lines = (_BULLET.sub("", line.strip()).strip() for line in body.split("\n"))
    return tuple(line for line in lines if _LETTER.search(line))
