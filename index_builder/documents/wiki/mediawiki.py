"""MediaWiki's dumps: XML, read as a stream, page by page, and Wikimedia's of rendered pages.

Pages are cut out of the byte stream and parsed one at a time, so that a broken page costs only itself: a parser that
reads the dump as one XML document stops at the first error. Dumps that were concatenated, or repeated, read as well.
"""

from __future__ import annotations

import html
import logging
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote
from xml.etree import ElementTree

from selectolax.lexbor import LexborNode

from index_builder.documents.compressed import blocks, note_damage
from index_builder.documents.document import Document, ReadReport, SkippedError
from index_builder.documents.formats.html_page import read_html
from index_builder.documents.outline import Outline
from index_builder.documents.wiki.site import UNKNOWN_SITE, Site, is_appendix
from index_builder.documents.wiki.wikitext import read_markup

log = logging.getLogger(__name__)

MAX_PAGE_BYTES = 64 << 20
PAGE_BEGINS, _CLOSE = b"<page>", b"</page>"
_BASE = re.compile(rb"<base>([^<]{1,500})</base>")
_NAMESPACE = re.compile(rb'<namespace key="(-?\d{1,6})"[^<>]{0,100}>([^<]{1,100})</namespace>')
_TITLE = re.compile(rb"<title>([^<]{1,500})</title>")
_REDIRECT = re.compile(r"\s*#\s?[^\s\[\]{}|#*:]{2,30}\s*:?\s*\[\[[^\[\]\n]{1,300}\]\]")
# Templates of disambiguation pages. Their names end with the word, or with "cleanup", which stands in its place;
# {{disambiguation needed}} and its like stand in articles, beside a link that leads to such a page.
_ENGLISH = (
    r"(?:[^{}|\n]{0,40}[\s_-])?disambig(?:uation)?(?:[\s_-]?(?:page|cleanup))?|disamb|dab|geodis|mathdab|numberdis|"
    r"roaddis|schooldis|hospitaldis|callsigndis|hndis(?:[\s_-]?cleanup)?"
)
_OTHER_LANGUAGES = (
    r"begriffsklärung|homonymie(?:[\s_][^{}|\n]{1,40})?|desambigua(?:ci[oó]n|ció|ção|cao)|desambig|"
    r"disambigua|doorverwijspagina|ujednoznacznienie|неоднозначность|многозначность|неоднозначність|förgrening|gren|"
    r"peker|flertydig|täsmennyssivu|rozcestník|egyért|dezambiguizare|anlam ayrımı|apartigilo|aimai|曖昧さ回避|"
    r"багатозначність|동명이인|trang định hướng|"
    r"消歧[义義](?:页|頁)?|동음이의|توضيح|ابهام‌زدایی|פירושונים|định hướng"
)
_DISAMBIGUATION = re.compile(
    rf"\{{\{{\s*(?:{_ENGLISH}|{_OTHER_LANGUAGES})\s*(?:\||\}}\}})|\{{\{{dp\}}\}}|__DISAMBIG__", re.IGNORECASE
)
_DISAMBIGUATION_TITLE = re.compile(
    r"\((?:disambiguation|Begriffsklärung|homonymie|desambiguación|desambiguació|desambiguação|disambigua|doorverwijspagina|"
    r"ujednoznacznienie|значения|значення|曖昧さ回避|消歧[义義])\)$"
)


@dataclass(frozen=True)
class RawPage:
    """One <page> element as it stands in the dump, and the wiki that it is a page of."""

    xml: bytes
    site: Site


def raw_pages(path: Path, report: ReadReport) -> Iterator[RawPage]:
    """The page elements of a dump in order, unparsed: cheap enough for one process to feed many."""
    return pages_of(blocks(path, report), path, report)


def pages_of(content: Iterator[bytes], path: Path, report: ReadReport) -> Iterator[RawPage]:
    """The page elements of a dump that comes in blocks, out of the file at `path`."""
    buffer = b""
    site = UNKNOWN_SITE
    for block in content:
        report.markup_bytes += len(block)
        buffer += block
        position = 0
        while (end := buffer.find(_CLOSE, position)) >= 0:
            end += len(_CLOSE)
            start = buffer.rfind(PAGE_BEGINS, position, end)
            site = _site(buffer[position : max(start, position)]) or site
            yield RawPage(buffer[max(start, position) : end], site)
            position = end
        buffer = buffer[position:]
        if len(buffer) > MAX_PAGE_BYTES:
            report.skip("page over the size limit", _raw_title(buffer))
            buffer = buffer[-len(_CLOSE) :]
    if PAGE_BEGINS in buffer:
        note_damage(path, report, f"the file ends inside page {_raw_title(buffer)!r}")


def parse_page(page: RawPage) -> Document:
    """The page's article.

    Raises:
        SkippedError: a redirect, a disambiguation page, another namespace, no prose, or broken XML.
    """
    element = _element(page)
    title = (element.findtext("title") or "").strip()
    text = _latest_text(element)
    _refuse_non_articles(element, title, text)
    prose = read_markup(text, page.site)
    if not prose.sections:
        raise SkippedError("no prose", title)
    base = page.site.base_url
    url = base + quote(title.replace(" ", "_"), safe="/:(),'!*") if base else ""
    return Document(
        (element.findtext("id") or title).strip(), title, url, sections=prose.sections, dropped=prose.dropped
    )


def page_markup(page: RawPage) -> str:
    """The markup of a page's latest revision.

    Raises:
        SkippedError: its XML is broken.
    """
    return _latest_text(_element(page))


def page_title(page: RawPage) -> str:
    """The title of a page that may be broken."""
    return _raw_title(page.xml)


def _site(header: bytes) -> Site | None:
    """The wiki that a dump's header describes; None where there is no header."""
    base = _BASE.search(header)
    if base is None:
        return None
    base_url = base.group(1).decode(errors="replace").rsplit("/", 1)[0] + "/"
    names = {int(key): html.unescape(name.decode(errors="replace")) for key, name in _NAMESPACE.findall(header)}
    return Site.of(base_url, names)


def _element(page: RawPage) -> ElementTree.Element:
    try:
        return ElementTree.fromstring(page.xml)  # noqa: S314 - a fragment without DTD: no entities to expand
    except (ElementTree.ParseError, ValueError) as error:
        raise SkippedError("broken page", _raw_title(page.xml), str(error)) from error


def _raw_title(xml: bytes) -> str:
    found = _TITLE.search(xml, max(xml.rfind(PAGE_BEGINS), 0)) or _TITLE.search(xml)
    return found.group(1).decode(errors="replace") if found else "(no title)"


def _latest_text(element: ElementTree.Element) -> str:
    revisions = element.findall("revision")
    return (revisions[-1].findtext("text") or "") if revisions else ""


def _refuse_non_articles(element: ElementTree.Element, title: str, text: str) -> None:
    if not title:
        raise SkippedError("broken page", "(no title)", "the page has no title")
    if (element.findtext("ns") or "0").strip() != "0":
        raise SkippedError("other namespace", title)
    if element.find("redirect") is not None or _REDIRECT.match(text):
        raise SkippedError("redirect", title)
    if _DISAMBIGUATION_TITLE.search(title) or _DISAMBIGUATION.search(text):
        raise SkippedError("disambiguation", title)


_CLASSES = {
    **dict.fromkeys(("reference", "mw-ref", "references", "mw-references-wrap", "reflist", "refbegin"), "reference"),
    **dict.fromkeys(("mw-editsection", "mw-empty-elt", "toc", "noprint", "mw-jump-link"), ""),
    **dict.fromkeys(("navbox", "vertical-navbox", "sidebar", "hatnote", "sistersitebox", "portalbox", "portal-bar",
                     "catlinks", "succession-box", "navbox-styles"), "navigation"),
    **dict.fromkeys(("ambox", "tmbox", "ombox", "metadata", "mbox-small", "stub"), "maintenance box"),
    **dict.fromkeys(("gallery", "mw-gallery-traditional"), "gallery"),
    **dict.fromkeys(("infobox", "infobox_v3", "vcard"), "infobox"),
    **dict.fromkeys(("mwe-math-fallback-image-inline", "mwe-math-fallback-image-display"), ""),
    "geo-nondefault": "",
    "coordinates": "",
}  # fmt: skip
_FIGURES = frozenset({"figure", "figure-inline"})
MARK = b'"article_body"'
KEYS = frozenset({"article_body", "name"})
_CATEGORY = "category"


def dropped_part(node: LexborNode, tag: str) -> str | None:
    """How a node that is no text of the article is counted; "" when it is not; None when it is read."""
    if tag in _FIGURES:
        return "image"
    if not node.is_element_node:
        return None
    attributes = node.attrs
    for name in (attributes.get("class") or "").split():
        if name in _CLASSES:
            return _CLASSES[name]
    if "mw:Extension/ref" in (attributes.get("typeof") or ""):
        return "reference"
    return None


def article(row: Mapping[str, object], name: str) -> Document:
    """The article of one row.

    Raises:
        SkippedError: a redirect, a disambiguation page, another namespace, or no text.
    """
    title = str(row.get("name") or "")
    if _inner(row, "namespace").get("identifier", 0) not in (0, None):
        raise SkippedError("other namespace", title or name)
    body = _inner(row, "article_body")
    html = body.get("html")
    if not isinstance(html, str):
        raise SkippedError("no text", title or name, "its article_body has no html")
    if 'property="mw:PageProp/disambiguation"' in html or "dmbox-disambig" in html:
        raise SkippedError("disambiguation", title or name)
    if 'rel="mw:PageProp/redirect"' in html:
        raise SkippedError("redirect", title or name)
    outline = Outline()
    read_html(html, outline, dropped_part)
    _add_fields(row, outline)
    outline.drop("appendix section", outline.remove_sections(is_appendix))
    found = outline.document(str(row.get("identifier") or title or name), title, str(row.get("url") or ""))
    return Document(
        found.document_id,
        title or found.title,
        found.url,
        sections=found.sections,
        left_out=(),
        dropped=found.dropped,
        fields=found.fields,
    )


def _add_fields(row: Mapping[str, object], outline: Outline) -> None:
    categories = row.get("categories")
    if isinstance(categories, list):
        names = [str(each.get("name", "")) for each in categories if isinstance(each, dict)]
        outline.add_field(_CATEGORY, [name.partition(":")[2] or name for name in names])
    outline.add_field("language", str(_inner(row, "in_language").get("identifier") or ""))


def _inner(row: Mapping[str, object], key: str) -> Mapping[str, object]:
    found = row.get(key)
    return found if isinstance(found, dict) else {}
