"""What of a rendered wiki page is no text of its article: notes, links to edit, boxes of links and of maintenance."""

from __future__ import annotations

from selectolax.lexbor import LexborNode

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
