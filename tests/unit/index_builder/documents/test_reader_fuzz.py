"""Every reader gives a document or says why not, whatever the bytes, within seconds and without much memory."""

from __future__ import annotations

import io
import time
import tracemalloc
import zipfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from index_builder.documents import SkippedError
from index_builder.documents.files import KINDS, RawFile, parse_file
from tests.unit.index_builder.documents.office_files import PRICES, book, open_document, slides, word, workbook
from tests.unit.index_builder.documents.pdfs import pdf

MAX_S = 5.0
MAX_BYTES = 500 << 20
SEEDS = {
    ".txt": b"Words here. More words.\n\n- item\n",
    ".md": b"---\ntitle: x\n---\n# A\n\n| a | b |\n|---|---|\n| 1 | 2 |\n\n```\ncode\n```\n<table><tr><td>x</table>",
    ".html": b"<meta charset=latin1><table><tr><th rowspan=3>a<td colspan=9>b</table><pre>c</pre><math>x</math>",
    ".csv": b'a,b,"c\n1,2,3\n"x""y",2\n',
    ".rst": b":a: b\n\nT\n=\n\n.. list-table::\n\n   * - a\n     - b\n\n+--+\n|a |\n+--+\n\n::\n\n  x\n\n"
    b".. include:: /etc/passwd\n\n.. py:function:: f(x)\n   :o: p\n\n   :x:`y`\n",
    ".adoc": b"= T\n:a: b\n\n|===\n|a |b\n2+|c\n|===\n\n----\nx\n----\n\n* a\n+\nb\n",
    ".eml": b"Subject: =?utf-8?q?x?=\nContent-Type: multipart/mixed; boundary=b\n\n--b\n\nhi\n--b\n"
    b"Content-Type: text/html\n\n<p>x\n--b--",
    ".pdf": pdf(["Some text."]),
    ".docx": word([("Heading 1", "A"), ("Normal", "b")], PRICES),
    ".pptx": slides({"A": "b"}, PRICES),
    ".xlsx": workbook({"A": PRICES}),
    ".epub": book({"1.xhtml": "<p>x"}),
    ".odt": open_document("<text:h>A</text:h><text:p>b<text:s/>c</text:p><table:table><table:table-row>"
                          "<table:table-cell><text:p>d</text:p></table:table-cell></table:table-row></table:table>"),
    ".rtf": rb"{\rtf1\ansi\ansicpg1252{\info{\title T}}A\'f6 \u8364? b\par\trowd c\cell d\cell\row{\pict 00}}",
    ".xml": b"<?xml version='1.0'?><a><title>T</title><b x='1'><c>d</c><e>f</e></b><p>g <i>h</i></p></a>",
    ".json": b'{"name": "a", "b": [{"c": 1}, {"c": null}], "d": "\\ud800"}',
    ".jsonl": b'{"a": 1, "b": {"c": "d"}}\n[1, 2]\n\nno\n',
    ".ipynb": b'{"cells": [{"cell_type": "markdown", "source": ["# A"]}, {"cell_type": "code", "source": "x", '
    b'"outputs": [{"text": ["1"]}, {"data": {"text/html": "<p>y"}}]}]}',
}  # fmt: skip
KIND_SEEDS = sorted(SEEDS)


def test_every_kind_has_a_seed() -> None:
    read = {KINDS[ending].read for ending in SEEDS}
    assert {kind.read for kind in KINDS.values()} == read


def read_within_limits(name: str, content: bytes) -> None:
    started = time.process_time()
    tracemalloc.start()
    try:
        document = parse_file(RawFile(Path(name), name, content))
        assert document.sections
        assert all(paragraph.strip() == paragraph for section in document.sections for paragraph in section.paragraphs)
    except SkippedError as skipped:
        assert skipped.cause  # noqa: PT017 - either is right
    finally:
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert time.process_time() - started < MAX_S
    assert peak < MAX_BYTES


@st.composite
def damaged(draw: st.DrawFn) -> tuple[str, bytes]:
    """A file of some kind in which bytes were changed, cut out or repeated; of zip files, those of a member."""
    ending = draw(st.sampled_from(KIND_SEEDS))
    content = SEEDS[ending]
    if content.startswith(b"PK") and draw(st.booleans()):
        return ending, _with_damaged_member(content, draw)
    return ending, _damaged(content, draw)


def _damaged(content: bytes, draw: st.DrawFn) -> bytes:
    found = bytearray(content)
    for _ in range(draw(st.integers(1, 6))):
        start = draw(st.integers(0, max(0, len(found) - 1)))
        size = draw(st.integers(0, 40))
        piece = draw(st.binary(max_size=12)) * draw(st.sampled_from([1, 1, 1, 50, 3000]))
        found[start : start + size] = piece
    return bytes(found)


def _with_damaged_member(content: bytes, draw: st.DrawFn) -> bytes:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    victim = draw(st.sampled_from(sorted(members)))
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name, inside in members.items():
            archive.writestr(name, _damaged(inside, draw) if name == victim else inside)
    return file.getvalue()


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(damaged())
def test_a_damaged_file_is_read_or_refused(file: tuple[str, bytes]) -> None:
    ending, content = file
    read_within_limits(f"f{ending}", content)


TEXT_KINDS = sorted(ending for ending in SEEDS if not SEEDS[ending].startswith((b"PK", b"%PDF")))
MARKS = [
    *"=-#*|`[](){}<>\"',;:._~+/\\\n\t a",
    "<div>",
    "<table>",
    "<tr>",
    "<td>",
    "|===\n",
    "----\n",
    "```\n",
    "<math>",
]


@pytest.mark.parametrize("ending", TEXT_KINDS)
def test_long_runs_of_marks_are_read_in_time(ending: str) -> None:
    for mark in MARKS:
        read_within_limits(f"f{ending}", mark.encode() * 4000)
