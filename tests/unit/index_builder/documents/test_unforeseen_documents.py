"""Documents as programs and people write them beyond the usual: nothing that a reader sees is lost without a count."""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path

import pytest

from index_builder.documents import Document, ReadReport, SkippedError, read_documents
from index_builder.documents.files import RawFile, parse_file
from tests.unit.index_builder.documents.office_files import open_document

_W = (
    'xmlns:w="http://schemas.openxmlformats.org/wordprocessingml/2006/main" '
    'xmlns:m="http://schemas.openxmlformats.org/officeDocument/2006/math" '
    'xmlns:mc="http://schemas.openxmlformats.org/markup-compatibility/2006"'
)


def parsed(folder: Path, name: str, content: str | bytes) -> Document:
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return parse_file(RawFile(path, name))


def lines(folder: Path, name: str, content: str | bytes) -> list[str]:
    return parsed(folder, name, content).text.split("\n")


def zipped(files: dict[str, str]) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for name, text in files.items():
            archive.writestr(name, text)
    return packed.getvalue()


def word(body: str) -> bytes:
    import docx
    from docx.oxml import parse_xml

    made = docx.Document()
    for element in parse_xml(f"<w:body {_W}>{body}</w:body>"):
        made.element.body.insert(len(made.element.body) - 1, element)
    packed = io.BytesIO()
    made.save(packed)
    return packed.getvalue()


def run(text: str) -> str:
    return f'<w:r><w:t xml:space="preserve">{text}</w:t></w:r>'


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (f"<w:p>{run('It is ')}<w:del>{run('90')}</w:del><w:ins>{run('100')}</w:ins></w:p>", "It is 100"),
        (f"<w:sdt><w:sdtContent><w:p>{run('In a control.')}</w:p></w:sdtContent></w:sdt>", "In a control."),
        (f"<w:p>{run('To ')}<w:sdt><w:sdtContent>{run('Ann')}</w:sdtContent></w:sdt></w:p>", "To Ann"),
        (f'<w:p><w:fldSimple w:instr="DATE">{run("5 May")}</w:fldSimple></w:p>', "5 May"),
        ("<w:p><m:oMath><m:r><m:t>x</m:t></m:r><m:sup><m:r><m:t>2</m:t></m:r></m:sup></m:oMath></w:p>", "x^2"),
    ],
)  # fmt: skip
def test_word_shows_what_was_inserted_filled_in_and_computed(tmp_path: Path, body: str, text: str) -> None:
    assert lines(tmp_path, "a.docx", word(body)) == [text]


def test_a_text_box_of_word_is_read_once_and_a_row_of_a_control_keeps_its_place(tmp_path: Path) -> None:
    box = f"<w:txbxContent><w:p>{run('Boxed.')}</w:p></w:txbxContent>"
    both = f"<mc:AlternateContent><mc:Choice>{box}</mc:Choice><mc:Fallback>{box}</mc:Fallback></mc:AlternateContent>"
    cell = f"<w:tc><w:p>{run('big')}</w:p></w:tc>"
    row = f"<w:tr><w:sdt><w:sdtContent>{cell}</w:sdtContent></w:sdt><w:tc><w:p>{run('red')}</w:p></w:tc></w:tr>"
    assert lines(tmp_path, "a.docx", word(f"<w:p><w:r>{both}</w:r></w:p><w:tbl>{row}</w:tbl>")) == [
        "Boxed.",
        "big: red",
    ]


def test_a_line_break_on_a_slide_parts_words(tmp_path: Path) -> None:
    from pptx import Presentation

    made = Presentation()
    slide = made.slides.add_slide(made.slide_layouts[6])
    slide.shapes.add_textbox(0, 0, 100, 100).text_frame.text = "Line a\vLine b"
    packed = io.BytesIO()
    made.save(packed)
    assert lines(tmp_path, "a.pptx", packed.getvalue()) == ["Line a", "Line b"]


def test_a_chapter_whose_title_is_an_empty_element_is_read(tmp_path: Path) -> None:
    chapter = (
        '<?xml version="1.0"?><html xmlns="http://www.w3.org/1999/xhtml" xmlns:epub="http://www.idpf.org/2007/ops">'
        '<head><title/></head><body><p>Dark it was.<a epub:type="noteref">1</a></p>'
        '<aside epub:type="footnote"><p>And stormy.</p></aside></body></html>'
    )
    assert lines(tmp_path, "a.xhtml", chapter) == ["Dark it was.", "And stormy."]


@pytest.mark.parametrize(
    ("markup", "text"),
    [
        ("<form action='/x'><p>The page itself.</p><input name=q></form>", "The page itself."),
        ("<p>10<sup>3</sup> m<sup><a href='#n1'>4</a></sup>", "10³ m"),
        ("<p>soft&shy;ware", "software"),
        ("<p><ruby>漢<rp>(</rp><rt>kan</rt><rp>)</rp></ruby>", "漢"),
    ],
)
def test_a_page_reads_as_its_reader_sees_it(tmp_path: Path, markup: str, text: str) -> None:
    assert lines(tmp_path, "a.html", markup) == [text]


def test_utf8_is_read_as_such_whatever_a_page_says_it_is(tmp_path: Path) -> None:
    page = '<meta charset="iso-8859-1"><p>Schöne Grüße.'.encode()
    assert lines(tmp_path, "a.html", page) == ["Schöne Grüße."]


def test_polish_of_iso_8859_2_is_told_from_that_of_windows(tmp_path: Path) -> None:
    text = "Zażółć gęślą jaźń. Spółka złożyła wniosek o wpis do rejestru. Łódź jest dużym miastem."
    assert lines(tmp_path, "a.txt", text.encode("iso8859_2")) == [text]
    assert lines(tmp_path, "b.txt", text.encode("cp1250")) == [text]


def test_text_of_a_mail_below_what_is_attached_is_read(tmp_path: Path) -> None:
    mail = (
        b"From: a@b.example\nContent-Type: multipart/mixed; boundary=X\n\n--X\n\nAbove.\n--X\n"
        b"Content-Type: image/png\n\nx\n"
        b"--X\nContent-Type: text/plain\n\nBelow.\n--X--\n"
    )
    assert lines(tmp_path, "a.eml", mail) == ["Above.", "Below."]


def test_a_mailbox_is_a_document_a_mail(tmp_path: Path) -> None:
    (tmp_path / "in.mbox").write_text(
        "From a@b.example Mon Jan  1 00:00:00 2024\nSubject: First\n\nOne.\n>From the start.\n\n"
        "From c@d.example Tue Jan  2 00:00:00 2024\nSubject: Second\n\nTwo.\n"
    )
    found = list(read_documents(str(tmp_path), ReadReport()))
    assert [(each.document_id, each.title) for each in found] == [
        ("in.mbox/1.eml", "First"),
        ("in.mbox/2.eml", "Second"),
    ]
    assert found[0].text.split("\n") == ["One.", "From the start."]


def test_directives_and_roles_of_sphinx_are_read(tmp_path: Path) -> None:
    guide = (
        "Guide\n=====\n\nText.\n\n.. contents::\n\n.. versionadded:: 2.0\n   A pump.\n\n"
        ".. py:function:: connect(host)\n   :module: net\n\n"
        "   See :py:class:`~net.Host` and :doc:`this <x>`.\n\n   :param host: its name\n\n.. include:: other.txt\n\n"
        ".. automodule:: net\n\nEnd\n---\n\n-v  more words\n"
    )
    document = parsed(tmp_path, "a.rst", guide)
    assert document.text.split("\n") == [
        "Text.", "2.0 A pump.", "connect(host)", "See net.Host and this.", "param host: its name", "-v: more words",
    ]  # fmt: skip
    assert document.dropped == {"included file": 1, "documentation out of code": 1}
    assert document.fields == {}


def test_blocks_of_asciidoc_end_where_they_end(tmp_path: Path) -> None:
    text = (
        "= Manual\nAnn Lee <a@b.example>\nv1.0, 2024-01-01\n\n[WARNING]\n====\nHot.\n====\n\nQuiet.footnote:[At 1 m.]\n"
    )
    document = parsed(tmp_path, "a.adoc", text)
    assert document.text.split("\n") == ["Hot.", "Quiet. (At 1 m.)"]
    assert document.fields == {"author": ("Ann Lee",), "revision": ("v1.0, 2024-01-01",)}


def test_titles_above_the_columns_of_a_csv_are_no_column(tmp_path: Path) -> None:
    table = "Report of 2024\n\nRegion,Q1,Q2\nNorth,10,20\n"
    assert lines(tmp_path, "a.csv", table) == ["Report of 2024", "Region: North; Q1: 10; Q2: 20"]


def test_markdown_leaves_no_marks_of_front_matter_in_toml_and_of_footnotes(tmp_path: Path) -> None:
    document = parsed(tmp_path, "a.md", '+++\ntitle = "Rules"\ntags = ["hr"]\n+++\n\nA rule.[^1]\n\n[^1]: Of 2024.\n')
    assert (document.title, document.fields, document.text) == ("Rules", {"tags": ("hr",)}, "A rule.\nOf 2024.")


def test_rich_text_is_read_with_its_tables_and_signs(tmp_path: Path) -> None:
    text = (
        r"{\rtf1\ansi\ansicpg1252{\fonttbl{\f0 Arial;}}{\info{\title Memo}}{\*\generator x;}{\pict 00ff}"
        r"\f0 Hello \b bold\b0  w\'f6rld \u8364? ok.\par{\footer p. 1}\trowd Part\cell Torque\cell\row"
        r"\trowd Bolt\cell 12 Nm\cell\row\pard End.\par}"
    )
    document = parsed(tmp_path, "a.rtf", text)
    assert (document.title, document.text.split("\n")) == (
        "Memo",
        ["Hello bold wörld € ok.", "Part: Bolt; Torque: 12 Nm", "End."],
    )
    assert document.dropped == {"image": 1, "header or footer of a page": 1}
    with pytest.raises(SkippedError, match="broken RTF"):
        parsed(tmp_path, "b.rtf", "no such")


def test_open_documents_are_read_with_lists_tables_and_notes(tmp_path: Path) -> None:
    body = (
        "<text:tracked-changes><text:p>Deleted.</text:p></text:tracked-changes>"
        '<text:h text:outline-level="1">Rules</text:h>'
        "<text:p>A<text:s/>rule.<text:note><text:note-citation>1</text:note-citation><text:note-body>"
        "<text:p>Of 2024.</text:p>"
        "</text:note-body></text:note></text:p><text:list><text:list-item><text:p>item</text:p></text:list-item></text:list>"
        "<table:table><table:table-row><table:table-cell><text:p>Fee</text:p></table:table-cell><table:table-cell>"
        "<text:p>2 EUR</text:p></table:table-cell></table:table-row></table:table><text:p><draw:image/></text:p>"
    )
    document = parsed(tmp_path, "a.odt", open_document(body))
    assert (document.title, document.text.split("\n")) == ("Rules", ["A rule.", "Of 2024.", "item", "Fee: 2 EUR"])
    assert document.dropped == {"image": 1}
    with pytest.raises(SkippedError, match="encrypted document"):
        parsed(tmp_path, "b.odt", open_document(body, **{"META-INF/manifest": "<x><encryption-data/></x>"}))


def test_a_notebook_is_read_with_what_its_code_has_printed(tmp_path: Path) -> None:
    code = {
        "cell_type": "code",
        "source": ["x = 1\n", "x"],
        "outputs": [{"data": {"text/plain": ["1"]}}, {"data": {"image/png": "x"}}],
    }
    notebook = {"cells": [{"cell_type": "markdown", "source": ["# Study\n", "Words."]}, code]}
    document = parsed(tmp_path, "a.ipynb", json.dumps(notebook))
    assert (document.title, document.text.split("\n"), document.dropped) == (
        "Study",
        ["Words.", "x = 1 x", "1"],
        {"image": 1},
    )


def test_json_and_xml_are_read_as_records(tmp_path: Path) -> None:
    assert lines(tmp_path, "a.json", '[{"part": "Bolt", "torque": 12}, {"part": "Nut", "torque": 8}]') == [
        "part: Bolt; torque: 12",
        "part: Nut; torque: 8",
    ]
    assert lines(tmp_path, "b.json", '{"name": "Pump", "facts": {"power": ["1 kW", "2 kW"]}}') == [
        "name: Pump", "facts power: 1 kW", "facts power: 2 kW",
    ]  # fmt: skip
    xml = "<list><title>Parts</title><part no='1'><name>Bolt</name><torque>12</torque></part></list>"
    assert parsed(tmp_path, "c.xml", xml).title == "Parts"
    assert lines(tmp_path, "c.xml", xml) == ["no: 1; name: Bolt; torque: 12"]
    assert lines(tmp_path, "e.xml", "<text><p>Some <b>bold</b> words.</p></text>") == ["Some bold words."]
    for name, broken in (("d.json", "{"), ("d.xml", "<a>"), ("d.ipynb", "[]")):
        with pytest.raises(SkippedError, match="broken"):
            parsed(tmp_path, name, broken)


def test_xml_that_is_no_dump_is_a_document_in_a_folder_and_in_an_archive(tmp_path: Path) -> None:
    (tmp_path / "a.xml").write_text("<r><p>A leak.</p></r>")
    (tmp_path / "b.zip").write_bytes(zipped({"c.xml": "<r><p>A crack.</p></r>"}))
    found = read_documents(str(tmp_path), ReadReport())
    assert [(each.document_id, each.text) for each in found] == [("a.xml", "A leak."), ("b.zip/c.xml", "A crack.")]
