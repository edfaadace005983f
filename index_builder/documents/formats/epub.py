"""EPUB books: their chapters in reading order, read as the web pages that they are."""

from __future__ import annotations

import io
import posixpath
import zipfile
import zlib
from collections.abc import Iterator
from urllib.parse import unquote
from xml.etree import ElementTree

from index_builder.documents.document import SkippedError
from index_builder.documents.formats.html_page import read_html_file
from index_builder.documents.formats.office import refuse_bomb
from index_builder.documents.outline import Outline

_CONTAINER = "META-INF/container.xml"
_BROKEN = (KeyError, ElementTree.ParseError, zipfile.BadZipFile, zlib.error, NotImplementedError, ValueError, OSError)
_CONTENTS = "application/x-dtbncx+xml"
_PAGES = ("application/xhtml+xml", "text/html")


def read_epub_file(content: bytes, name: str, outline: Outline) -> str:
    """Add the chapters of a book; its title.

    Raises:
        SkippedError: it is encrypted, broken, or too large.
    """
    refuse_bomb(content, name, "broken book")
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            package_name, package = _package(archive)
            labels = _labels(archive, package_name, package)
            for chapter in _chapters(package_name, package):
                inner = Outline()
                _read_chapter(archive, chapter, name, outline=inner)
                outline.absorb(inner, "" if inner.has_headings else labels.get(chapter, ""))
    except RuntimeError as error:
        raise SkippedError("encrypted document", name, str(error)) from error
    except _BROKEN as error:
        raise SkippedError("broken book", name, f"{type(error).__name__}: {error}") from error
    for field, tag in {"author": "creator", "language": "language", "subject": "subject", "date": "date"}.items():
        outline.add_field(field, [element.text or "" for element in package.iterfind(f".//{{*}}{tag}")])
    return package.findtext(".//{*}title") or ""


def _package(archive: zipfile.ZipFile) -> tuple[str, ElementTree.Element]:
    root = _element(archive.read(_CONTAINER)).find(".//{*}rootfile")
    if root is None:
        raise KeyError("no rootfile in its container")
    name = root.attrib["full-path"]
    return name, _element(archive.read(name))


def _chapters(package_name: str, package: ElementTree.Element) -> Iterator[str]:
    pages = {
        item.get("id"): item.get("href", "")
        for item in package.iterfind(".//{*}manifest/{*}item")
        if item.get("media-type") in _PAGES and "nav" not in (item.get("properties") or "").split()
    }
    for reference in package.iterfind(".//{*}spine/{*}itemref"):
        if href := pages.get(reference.get("idref")):
            yield _place(package_name, href)


def _labels(archive: zipfile.ZipFile, package_name: str, package: ElementTree.Element) -> dict[str, str]:
    """What the table of contents of older books calls the chapters, which may have no heading of their own."""
    found: dict[str, str] = {}
    for item in package.iterfind(".//{*}manifest/{*}item"):
        if item.get("media-type") != _CONTENTS:
            continue
        name = _place(package_name, item.get("href", ""))
        try:
            points = _element(archive.read(name)).iterfind(".//{*}navPoint")
        except (*_BROKEN, RuntimeError):
            continue
        for point in points:
            content = point.find("{*}content")
            href = "" if content is None else content.get("src", "").partition("#")[0]
            found.setdefault(_place(name, href), point.findtext("{*}navLabel/{*}text") or "")
    return found


def _place(beside: str, href: str) -> str:
    """Where a link in the file `beside` leads, within the archive."""
    return posixpath.normpath(posixpath.join(posixpath.dirname(beside), unquote(href)))


def _read_chapter(archive: zipfile.ZipFile, chapter: str, name: str, outline: Outline) -> None:
    try:
        page = archive.read(chapter)
    except _BROKEN as error:
        outline.leave_out(SkippedError("broken chapter", f"{name}, {chapter}", f"{type(error).__name__}: {error}"))
        return
    read_html_file(page, f"{name}, {chapter}", outline)


def _element(xml: bytes) -> ElementTree.Element:
    if b"<!ENTITY" in xml:
        raise ValueError("entities in its package")
    return ElementTree.fromstring(xml)  # noqa: S314 - without entities there is nothing to expand
