"""Documents as companies have them: tables and code are kept, office files, books and mails are read."""

from __future__ import annotations

import bz2
import datetime
import email.message
import gzip
import io
import lzma
import time
import zipfile
from pathlib import Path

import pyarrow as pa
import pytest

from index_builder.documents import Document, ReadReport, SkippedError, read_documents
from index_builder.documents.files import RawFile, parse_file
from tests.unit.index_builder.documents.office_files import PRICES, book, slides, word, workbook
from tests.unit.index_builder.documents.pdfs import pdf

ROWS = ("Product: Anvil; Price: 120 EUR; Unit: piece", "Product: Nails; Price: 4 EUR; Unit: kilogram")


def parsed(folder: Path, name: str, content: str | bytes) -> Document:
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return parse_file(RawFile(path, name))


def outline(document: Document) -> list[tuple[str, tuple[str, ...]]]:
    return [(section.heading, section.paragraphs) for section in document.sections]


def test_an_html_table_is_read_row_by_row_with_its_header(tmp_path: Path) -> None:
    rows = "".join(f"<tr>{''.join(f'<td>{cell}</td>' for cell in row)}</tr>" for row in PRICES[1:])
    header = "".join(f"<th>{cell}</th>" for cell in PRICES[0])
    page = f"<h1>Prices</h1><p>See the table.</p><table><caption>All</caption><tr>{header}</tr>{rows}</table>"
    assert outline(parsed(tmp_path, "p.html", page)) == [("", ("See the table.", "All", *ROWS))]


def test_an_html_table_of_names_and_values_reads_as_such(tmp_path: Path) -> None:
    page = (
        "<p>See the table.</p><table><tr><td>Maximum transfer</td><td>5,000 EUR a day</td></tr>"
        "<tr><th>Fee</th><td>2 EUR</td></tr></table>"
    )
    assert parsed(tmp_path, "t.html", page).text.split("\n")[1:] == ["Maximum transfer: 5,000 EUR a day", "Fee: 2 EUR"]


def test_cells_that_span_rows_and_columns_are_filled_in(tmp_path: Path) -> None:
    page = (
        "<table><tr><th rowspan=2>Region</th><th colspan=2>Sales</th></tr><tr><th>2023</th><th>2024</th></tr>"
        "<tr><td rowspan=2>North</td><td>1</td><td>2</td></tr><tr><td>3</td><td>4</td></tr></table>"
    )
    assert parsed(tmp_path, "s.html", page).text.split("\n") == [
        "Region: North; Sales 2023: 1; Sales 2024: 2",
        "Region: North; Sales 2023: 3; Sales 2024: 4",
    ]


def test_a_table_that_only_places_things_is_read_as_a_page(tmp_path: Path) -> None:
    inner = "<table><tr><td>Sun: 3 h</td></tr></table>"
    page = f"<h1>Day</h1><table><tr><td><h2>News</h2><p>It rained.</p></td><td>{inner}</td></tr></table>"
    assert ("News", ("It rained.", "Sun: 3 h")) in outline(parsed(tmp_path, "l.html", page))


def test_code_of_html_markdown_rst_and_asciidoc_is_kept(tmp_path: Path) -> None:
    command = "systemctl restart billing"
    for name, text in {
        "a.html": f"<p>Do this.</p><pre><code>{command}\nsleep 5</code></pre>",
        "a.md": f"Do this.\n\n```sh\n{command}\nsleep 5\n```\n",
        "a.rst": f"Do this.\n\n.. code-block:: sh\n\n   {command}\n   sleep 5\n",
        "a.adoc": f"Do this.\n\n[source,sh]\n----\n{command}\nsleep 5\n----\n",
    }.items():
        assert parsed(tmp_path, name, text).text == f"Do this.\n{command} sleep 5", name


def test_tables_of_every_text_format_have_the_same_rows(tmp_path: Path) -> None:
    comma, semicolon, tab = ("\n".join(mark.join(row) for row in PRICES) for mark in (",", ";", "\t"))
    pipes = "\n".join(f"| {' | '.join(row)} |" for row in [PRICES[0], ["---"] * 3, *PRICES[1:]])
    rst = ".. list-table::\n   :header-rows: 1\n\n" + "".join(
        "   * - " + "\n     - ".join(row) + "\n" for row in PRICES
    )
    adoc = '[cols="1,1,1", options="header"]\n|===\n' + "\n".join(f"|{'|'.join(row)}" for row in PRICES) + "\n|===\n"
    for name, text in {
        "a.csv": comma, "b.csv": semicolon, "a.tsv": tab, "a.md": pipes, "a.rst": rst, "a.adoc": adoc,
    }.items():  # fmt: skip
        assert tuple(parsed(tmp_path, name, text).text.split("\n")) == ROWS, name


def test_a_word_file_has_sections_tables_and_fields(tmp_path: Path) -> None:
    content = word([("Heading 1", "Leave"), ("Normal", "Ask early."), ("Heading 2", "Sick leave")], PRICES)
    document = parsed(tmp_path, "h.docx", content)
    assert (document.title, document.fields["author"]) == ("Leave", ("Ada Quill",))
    assert outline(document) == [("", ("Ask early.",)), ("Sick leave", ROWS)]


def test_a_presentation_has_slides_notes_and_tables(tmp_path: Path) -> None:
    document = parsed(tmp_path, "d.pptx", slides({"Plan": "We grow."}, PRICES))
    assert outline(document) == [("Slide 1: Plan", ("We grow.", "Note on Plan.")), ("Slide 2", ROWS)]


def test_a_workbook_has_sheets_of_rows_below_their_title(tmp_path: Path) -> None:
    sheet = [["Price list 2026"], [], *PRICES]
    document = parsed(tmp_path, "w.xlsx", workbook({"Prices": sheet, "Empty": []}))
    assert outline(document) == [("Prices", ("Price list 2026", *ROWS))]


def test_a_book_has_its_chapters_in_order(tmp_path: Path) -> None:
    chapters = {"2.xhtml": "<h1>Two</h1><p>Then this.</p>", "1.xhtml": "<h1>One</h1><p>First that.</p>"}
    document = parsed(tmp_path, "b.epub", book(chapters))
    assert document.text == "Then this.\nFirst that."
    assert document.fields["author"] == ("Ada Quill",)


def test_a_mail_has_its_subject_text_and_attachments(tmp_path: Path) -> None:
    mail = email.message.EmailMessage()
    mail["Subject"], mail["From"], mail["Date"] = "Outage", "Ops <ops@corp.example>", "Mon, 2 Mar 2026 10:00:00 +0000"
    mail.set_content("The gateway is down.")
    mail.add_alternative("<p>The gateway is down.</p>", subtype="html")
    mail.add_attachment("\n".join(",".join(row) for row in PRICES).encode(), "text", "csv", filename="prices.csv")
    mail.add_attachment(b"\x89PNG", "image", "png", filename="graph.png")
    document = parsed(tmp_path, "m.eml", bytes(mail))
    assert (document.title, tuple(document.text.split("\n"))) == ("Outage", ("The gateway is down.", *ROWS))
    assert (document.fields["from"], dict(document.dropped)) == (("Ops <ops@corp.example>",), {"image": 1})


def test_restructured_text_has_sections_and_fields(tmp_path: Path) -> None:
    text = (
        ":team: Payments\n\nRefunds\n=======\n\nMoney goes *back*.\n\n"
        "Limits\n------\n\n- Ten a day.\n\n.. image:: x.png\n"
    )
    document = parsed(tmp_path, "r.rst", text)
    assert outline(document) == [("", ("Money goes back.",)), ("Limits", ("Ten a day.",))]
    assert (document.fields["team"], document.dropped["image"]) == (("Payments",), 1)


def test_asciidoc_has_sections_lists_and_attributes(tmp_path: Path) -> None:
    text = (
        "= Refunds\n:team: Payments\n:limit: 10\n\nMoney goes *back*, see https://x.example[the guide].\n\n"
        "== Limits\n\n* Up to {limit} a day.\n\nTerm:: What it means.\n\nimage::x.png[]\n"
    )
    document = parsed(tmp_path, "r.adoc", text)
    assert outline(document) == [
        ("", ("Money goes back, see the guide.",)),
        ("Limits", ("Up to 10 a day.", "Term: What it means.")),
    ]
    assert (document.fields["team"], document.dropped["image"]) == (("Payments",), 1)


def test_front_matter_becomes_fields(tmp_path: Path) -> None:
    document = parsed(tmp_path, "a.md", "---\ntitle: T\ngroups: [sales, legal]\nyear: 2026\ndraft: false\n---\nText.\n")
    assert dict(document.fields) == {"groups": ("sales", "legal"), "year": ("2026",), "draft": ("false",)}


def zstandard(content: bytes) -> bytes:
    found: bytes = pa.Codec("zstd").compress(content, asbytes=True)
    return found


@pytest.mark.parametrize(
    ("ending", "compress"),
    [(".gz", gzip.compress), (".bz2", bz2.compress), (".xz", lzma.compress), (".zst", zstandard)],
)
def test_compressed_files_of_each_kind_are_read(tmp_path: Path, ending: str, compress: object) -> None:
    files = {"a.txt": b"Hello there.", "a.docx": word([("Normal", "Hello there.")]), "a.pdf": pdf(["Hello there."])}
    for name, content in files.items():
        document = parsed(tmp_path, name + ending, compress(content))  # type: ignore[operator]
        assert "Hello there." in document.text
        assert document.title == ("Handbook" if name == "a.docx" else "a")


def test_a_file_that_unpacks_to_too_much_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SkippedError, match="over the size limit"):
        parsed(tmp_path, "bomb.txt.gz", gzip.compress(b"a" * (40 << 20)))


@pytest.mark.parametrize(
    ("name", "cause"),
    [("a.docx", "broken Word file"), ("a.pptx", "broken PowerPoint file"), ("a.xlsx", "broken Excel file"),
     ("a.epub", "broken book"), ("a.eml", "broken mail"), ("a.txt.gz", "damaged file")],
)  # fmt: skip
def test_a_broken_file_says_what_it_is(tmp_path: Path, name: str, cause: str) -> None:
    with pytest.raises(SkippedError) as skipped:
        parsed(tmp_path, name, b"\x01\x02 no such file")
    assert skipped.value.cause == cause


def test_an_office_file_with_a_password_says_so(tmp_path: Path) -> None:
    with pytest.raises(SkippedError) as skipped:
        parsed(tmp_path, "a.docx", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(600))
    assert skipped.value.cause == "encrypted document"


def test_what_is_left_out_of_a_page_is_counted_by_kind(tmp_path: Path) -> None:
    page = "<nav>Home</nav><p>Text <img src=a><img src=b></p><form>Search</form><aside>More</aside><p hidden>x</p>"
    assert dict(parsed(tmp_path, "a.html", page).dropped) == {
        "navigation": 1, "image": 2, "form": 1, "side note": 1, "hidden element": 1,
    }  # fmt: skip


@pytest.mark.parametrize("opening", ["<div>", "<div><p>a ", "<div><span>", "<b>", "<ul><li>"])
def test_a_megabyte_of_nesting_is_read_in_no_time(tmp_path: Path, opening: str) -> None:
    started = time.process_time()
    document = parsed(tmp_path, "deep.html", f"<p>Above.</p>{opening * (1_000_000 // len(opening))}Below.")
    assert document.text.startswith("Above.")
    assert document.text.endswith("Below.")
    assert time.process_time() - started < 5


def test_a_table_within_a_cell_is_read_row_by_row(tmp_path: Path) -> None:
    import docx

    document = docx.Document()
    document.sections[0].header.paragraphs[0].text = "CONFIDENTIAL"
    outer = document.add_table(2, 2)
    for cell, text in zip(outer.rows[0].cells, ("Class", "Limits"), strict=True):
        cell.text = text
    outer.cell(1, 0).text = "Economy"
    inner = outer.cell(1, 1).add_table(2, 2)
    for number, row in enumerate((("Region", "A night"), ("Asia", "150 USD"))):
        for cell, text in zip(inner.rows[number].cells, row, strict=True):
            cell.text = text
    document.save(str(tmp_path / "n.docx"))
    found = parse_file(RawFile(tmp_path / "n.docx", "n.docx"))
    assert found.text == "Class: Economy; Limits: Region: Asia; A night: 150 USD"
    assert found.dropped == {"header or footer of a page": 1}


def test_a_workbook_reads_as_it_is_shown(tmp_path: Path) -> None:
    import openpyxl

    book = openpyxl.Workbook()
    sheet = book.active
    for row in (["Who", "From", "Rate", "Total"], ["Ann", datetime.date(2026, 3, 14), 0.125, "=C2*2"], [None, 2, 0.5]):
        sheet.append(row)
    sheet.merge_cells("A2:A3")
    sheet["C2"].number_format = "0.0%"
    book.save(tmp_path / "b.xlsx")
    found = parse_file(RawFile(tmp_path / "b.xlsx", "b.xlsx"))
    assert found.text.split("\n") == ["Who: Ann; From: 2026-03-14; Rate: 12.5%", "Who: Ann; From: 2; Rate: 0.5"]
    assert found.dropped == {"formula without a stored value": 1}


def test_what_is_attached_to_a_mail_stands_under_its_name_and_does_not_name_the_mail(tmp_path: Path) -> None:
    mail = email.message.EmailMessage()
    mail["Subject"] = "Figures"
    mail.set_content("See below.")
    mail.add_attachment(b"# Notes\n\nAll is well.", maintype="text", subtype="markdown", filename="notes.md")
    inner = email.message.EmailMessage()
    inner["Subject"] = "An earlier one"
    inner.set_content("It was blue.")
    inner.add_attachment(b"Colour;Number\nred;3\n", maintype="text", subtype="csv", filename="c.csv")
    mail.add_attachment(inner)
    found = parsed(tmp_path, "m.eml", bytes(mail))
    assert found.title == "Figures"
    assert outline(found) == [
        ("", ("See below.",)),
        ("notes.md > Notes", ("All is well.",)),
        ("An earlier one", ("It was blue.",)),
        ("An earlier one > c.csv", ("Colour: red; Number: 3",)),
    ]


def test_mails_within_mails_end_somewhere(tmp_path: Path) -> None:
    mail = email.message.EmailMessage()
    mail.set_content("The innermost.")
    for number in range(40):
        outer = email.message.EmailMessage()
        outer["Subject"] = f"Number {number}"
        outer.set_content(f"Text {number}.")
        outer.add_attachment(mail)
        mail = outer
    found = parsed(tmp_path, "m.eml", bytes(mail))
    assert found.text.split("\n")[:2] == ["Text 39.", "Text 38."]
    assert "innermost" not in found.text
    assert found.dropped == {"attachment of another kind": 1}


def test_chapters_without_a_heading_have_that_of_the_contents(tmp_path: Path) -> None:
    opf = (
        '<package xmlns="http://www.idpf.org/2007/opf"><metadata xmlns:dc="http://purl.org/dc/elements/1.1/"><dc:title>'
        'Ships</dc:title></metadata><manifest><item id="n" href="toc.ncx" media-type="application/x-dtbncx+xml"/>'
        '<item id="a" href="T/a%201.xhtml" media-type="application/xhtml+xml"/><item id="b" href="T/b.xhtml" '
        'media-type="application/xhtml+xml"/></manifest><spine><itemref idref="b"/><itemref idref="a"/></spine>'
        "</package>"
    )
    ncx = (
        '<ncx xmlns="http://www.daisy.org/z3986/2005/ncx/"><navMap><navPoint><navLabel><text>The sea</text></navLabel>'
        '<content src="T/a%201.xhtml#x"/></navPoint></navMap></ncx>'
    )
    container = '<container><rootfiles><rootfile full-path="O/c.opf"/></rootfiles></container>'
    with zipfile.ZipFile(tmp_path / "s.epub", "w") as archive:
        archive.writestr("META-INF/container.xml", container)
        archive.writestr("O/c.opf", opf)
        archive.writestr("O/toc.ncx", ncx)
        archive.writestr("O/T/b.xhtml", "<html><body><h1>Harbours</h1><p>It was quiet.</p></body></html>")
        archive.writestr("O/T/a 1.xhtml", "<html><body><p>It was rough.</p></body></html>")
    found = parse_file(RawFile(tmp_path / "s.epub", "s.epub"))
    assert found.title == "Ships"
    assert outline(found) == [("Harbours", ("It was quiet.",)), ("The sea", ("It was rough.",))]


def test_archives_in_archives_are_read_but_not_without_end(tmp_path: Path) -> None:
    content, name = b"# Inner\n\nIt is green.", "inner.md"
    for depth in range(6):
        packed = io.BytesIO()
        with zipfile.ZipFile(packed, "w") as archive:
            archive.writestr(name, content)
            archive.writestr("beside.txt", f"At depth {depth}.")
        content, name = packed.getvalue(), f"{depth}.zip"
    (tmp_path / "outer.zip").write_bytes(content)
    report = ReadReport()
    texts = {document.document_id: document.text for document in read_documents(str(tmp_path), report)}
    assert texts["outer.zip/4.zip/3.zip/beside.txt"] == "At depth 3."
    assert len(texts) == 4
    assert report.skipped == {"file of another kind (.zip)": 1}


def test_the_author_of_an_asciidoc_file_is_a_field(tmp_path: Path) -> None:
    found = parsed(tmp_path, "a.adoc", "= Runbook\nAnn Lee <ann@example.org>\n\nRestart it.\n")
    assert (found.text, found.fields["author"]) == ("Restart it.", ("Ann Lee",))
