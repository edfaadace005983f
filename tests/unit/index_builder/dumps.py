"""MediaWiki dumps made for tests."""

from __future__ import annotations

import bz2
from pathlib import Path
from xml.sax.saxutils import escape

HEAD = "<mediawiki>\n<siteinfo><base>https://wiki.example/wiki/Main_Page</base></siteinfo>\n"
TAIL = "</mediawiki>\n"


def page(title: str, text: str, page_id: int = 1, namespace: int = 0, extra: str = "") -> str:
    return (
        f"<page><title>{escape(title)}</title><ns>{namespace}</ns><id>{page_id}</id>{extra}"
        f"<revision><id>9</id><text>{escape(text)}</text></revision></page>\n"
    )


def article(number: int, sentences: int = 4) -> str:
    """A page with a lead and two sections, every sentence of which says where it stands."""
    parts = []
    for heading in ("", "\n== History ==\n", "\n== Uses ==\n"):
        name = heading.strip("= \n") or "lead"
        parts.append(heading + " ".join(f"Sentence {i} of {name} of article {number}." for i in range(sentences)))
    return page(f"Article {number}", "".join(parts), page_id=number)


def dump(*pages: str) -> bytes:
    return (HEAD + "".join(pages) + TAIL).encode()


def write_dump(path: Path, *pages: str) -> Path:
    """A dump as one file: plain or, by its name, compressed."""
    content = dump(*pages)
    path.write_bytes(bz2.compress(content) if path.suffix == ".bz2" else content)
    return path
