"""What of a rendered wiki page is no text of its article: notes, links to edit, boxes of links and of maintenance."""

from __future__ import annotations

from collections.abc import Mapping

from selectolax.lexbor import LexborNode

from index_builder.documents.document import Document, SkippedError
from index_builder.documents.formats.html_page import read_html
from index_builder.documents.outline import Outline
from index_builder.documents.wiki.site import is_appendix

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
