"""Wikimedia's HTML dumps: a line of JSON an article, in a packed archive."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path

from index_builder.documents import ReadReport, read_documents

HTML = (
    "<html><head><title>Owl</title></head><body><section><div class='hatnote'>See Owls.</div>"
    "<table class='infobox'><tr><th>Class</th><td>Aves</td></tr></table>"
    "<p><b>Owls</b> are birds.<sup class='mw-ref reference'><a>[1]</a></sup> "
    "<span class='mwe-math-element'><math alttext='{\\displaystyle E=mc^{2}}'><mi>E</mi></math></span></p></section>"
    "<section><h2>Kinds</h2><table class='wikitable'><tr><th>Name</th><th>Size</th><th>Food</th></tr>"
    "<tr><td>Barn owl</td><td>35 cm</td><td>mice</td></tr></table>"
    "<figure><img src='x'><figcaption>An owl</figcaption></figure></section>"
    "<section><h2>References</h2><ol class='references'><li>A book.</li></ol></section>"
    "<div class='navbox'>Birds</div></body></html>"
)


def row(name: str, number: int, html: str, namespace: int = 0) -> dict[str, object]:
    return {
        "name": name, "identifier": number, "url": f"https://en.wikipedia.org/wiki/{name}",
        "namespace": {"identifier": namespace}, "in_language": {"identifier": "en"},
        "categories": [{"name": "Category:Birds"}], "article_body": {"html": html, "wikitext": "'''Owls'''"},
    }  # fmt: skip


def write(path: Path, *rows: dict[str, object]) -> Path:
    lines = "\n".join(json.dumps(each) for each in rows).encode()
    if path.suffix == ".ndjson":
        path.write_bytes(lines)
        return path
    with tarfile.open(path, "w:gz") as archive:
        entry = tarfile.TarInfo("enwiki_namespace_0_0.ndjson")
        entry.size = len(lines)
        archive.addfile(entry, io.BytesIO(lines))
    return path


def test_an_article_is_read_as_it_is_rendered(tmp_path: Path) -> None:
    redirect = '<link rel="mw:PageProp/redirect" href="./Owl">'
    rows = (row("Owl", 7, HTML), row("Talk:Owl", 8, HTML, 1), row("Owls", 9, redirect))
    for name in ("dump.tar.gz", "dump.ndjson"):
        report = ReadReport()
        (document,) = read_documents(str(write(tmp_path / name, *rows)), report)
        assert (document.document_id, document.title) == ("7", "Owl")
        assert document.url == "https://en.wikipedia.org/wiki/Owl"
        assert [(section.heading, section.paragraphs) for section in document.sections] == [
            ("", ("Owls are birds. E=mc^{2}",)),
            ("Kinds", ("Name: Barn owl; Size: 35 cm; Food: mice",)),
        ]
        assert document.fields == {"category": ("Birds",), "language": ("en",)}
        assert report.skipped["other namespace"] == report.skipped["redirect"] == 1
        assert report.skipped["part of a document: infobox"] == 1
