"""Files as documents: which words of text, Markdown, HTML and PDF become sections, and which are left out."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import pytest

from index_builder.documents import Document, ReadReport, SkippedError, read_documents
from index_builder.documents.files import RawFile, parse_file
from tests.unit.index_builder.documents.pdfs import encrypted, pdf, pdf_in_columns, scanned


def parsed(folder: Path, name: str, content: str | bytes) -> Document:
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return parse_file(RawFile(path, name))


def outline(document: Document) -> list[tuple[str, tuple[str, ...]]]:
    return [(section.heading, section.paragraphs) for section in document.sections]


def cause(folder: Path, name: str, content: bytes) -> str:
    with pytest.raises(SkippedError) as skipped:
        parsed(folder, name, content)
    assert skipped.value.name == name
    return skipped.value.cause


def test_markdown_headings_become_sections_below_the_title(tmp_path: Path) -> None:
    text = "# Owls\n\nThey fly\nat night.\n\n## Food\n\nMice.\n\n### Rare\n\n- Frogs.\n- Fish.\n\n## Nests\n\nTrees.\n"
    document = parsed(tmp_path, "owls.md", text)
    assert (document.document_id, document.title, document.url) == ("owls.md", "Owls", "owls.md")
    assert outline(document) == [
        ("", ("They fly at night.",)),
        ("Food", ("Mice.",)),
        ("Food > Rare", ("Frogs.", "Fish.")),
        ("Nests", ("Trees.",)),
    ]


def test_markdown_code_and_tables_are_kept_and_images_are_left_out(tmp_path: Path) -> None:
    text = (
        "Call `run()` *now*, see [the guide](http://x.example). ![a chart](chart.png)\n\n"
        "```python\nsecret_code()\n```\n\n| a | b |\n|---|---|\n| cell | 2 |\n\n<div>Inside <b>markup</b>.</div>\n"
    )
    assert outline(parsed(tmp_path, "a.md", text)) == [
        ("", ("Call run() now, see the guide.", "secret_code()", "a: cell; b: 2", "Inside markup.")),
    ]


def test_markdown_front_matter_names_the_document_and_is_no_prose(tmp_path: Path) -> None:
    document = parsed(tmp_path, "a.md", '---\ntitle: "Field notes"\ntags: [x]\n---\n\n## First\n\nIt rained.\n')
    assert (document.title, outline(document)) == ("Field notes", [("First", ("It rained.",))])


def test_html_keeps_prose_and_leaves_out_what_surrounds_it(tmp_path: Path) -> None:
    page = (
        "<html><head><title>Owls - Birds Inc.</title><style>p{}</style></head><body><nav>Home</nav>"
        "<h1>Owls <a href='#o'>¶</a></h1><p>They   fly <i>at</i>\nnight &amp; day.</p><script>track()</script>"
        "<table><tr><td>cell</td></tr></table><h2>Food</h2>Mice.<ul><li>Frogs<ul><li>Toads</li></ul></li></ul>"
        "<pre>code()</pre><p hidden>unseen</p><footer>Contact</footer></body></html>"
    )
    document = parsed(tmp_path, "owls.html", page)
    assert document.title == "Owls"
    assert outline(document) == [
        ("", ("They fly at night & day.", "cell")),
        ("Food", ("Mice.", "Frogs", "Toads", "code()")),
    ]


def test_html_is_read_from_its_one_main_part_and_named_by_its_title(tmp_path: Path) -> None:
    page = "<title>Owls</title><body><div>Cookies?</div><main><p>They fly.</p></main><div>Imprint</div>"
    document = parsed(tmp_path, "o.htm", page)
    assert (document.title, outline(document)) == ("Owls", [("", ("They fly.",))])


def test_html_is_decoded_as_it_says(tmp_path: Path) -> None:
    page = "<meta charset=windows-1252><p>A café here.".encode("cp1252")
    assert parsed(tmp_path, "c.html", page).text == "A café here."


def test_html_of_any_depth_is_read(tmp_path: Path) -> None:
    assert parsed(tmp_path, "deep.html", "<div>" * 20_000 + "Below.").text == "Below."


def test_lines_that_a_margin_has_broken_are_joined(tmp_path: Path) -> None:
    text = (
        "The first line is broken by the margin of a typewriter, as in\nletters of old, and goes on. It ex-\nplains.\n"
        "\nShort line.\nAnother short one.\n\n- An item that is long enough to reach the margin here,\n- and one.\n"
    )
    assert parsed(tmp_path, "letter.txt", text).sections[0].paragraphs == (
        "The first line is broken by the margin of a typewriter, as in letters of old, and goes on. It explains.",
        "Short line.",
        "Another short one.",
        "- An item that is long enough to reach the margin here,",
        "- and one.",
    )


def test_text_is_named_by_its_file_and_decoded_by_its_mark(tmp_path: Path) -> None:
    document = parsed(tmp_path, "a.b.txt", "Grüße.".encode("utf-16"))
    assert (document.title, document.text) == ("a.b", "Grüße.")


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("binary.txt", b"MZ\0\0", "no text of a known encoding"),
        ("binary.md", b"# caf\0", "no text of a known encoding"),
        ("empty.txt", b"", "no prose"),
        ("empty.md", b"![only a picture](x.png)", "no prose"),
        ("empty.html", b"", "no prose"),
        ("empty.pdf", b"", "broken PDF"),
        ("noise.pdf", b"%PDF-1.7\n" + bytes(range(256)) * 20, "broken PDF"),
        ("cut.pdf", pdf(["Some text."])[:150], "broken PDF"),
        ("blank.pdf", pdf([], []), "no prose"),
        ("scanned.pdf", scanned(3), "scanned PDF"),
        ("secret.pdf", encrypted(pdf(["Some text."]), "letmein"), "encrypted PDF"),
    ],
)
def test_a_file_that_gives_no_document_says_why(tmp_path: Path, name: str, content: bytes, expected: str) -> None:
    assert cause(tmp_path, name, content) == expected


def test_pdf_pages_are_sections(tmp_path: Path) -> None:
    document = parsed(
        tmp_path, "r.pdf", pdf(["Sales rose.", "Costs fell."], ["Next year is open."], title="Report 2025")
    )
    assert document.title == "Report 2025"
    assert outline(document) == [
        ("Page 1", ("Sales rose.", "Costs fell.")),
        ("Page 2", ("Next year is open.",)),
    ]


def test_a_sentence_that_runs_on_to_the_next_page_stays_whole(tmp_path: Path) -> None:
    pages = pdf(["It began on a page that was too short for", "the sentence and it"], ["ended there. A new one."])
    assert outline(parsed(tmp_path, "r.pdf", pages)) == [
        ("Page 1", ("It began on a page that was too short for the sentence and it ended there.",)),
        ("Page 2", ("A new one.",)),
    ]


def test_headers_and_footers_of_a_pdf_are_left_out(tmp_path: Path) -> None:
    pages = [["ACME report", f"Fact number {number} is here.", f"Page {number} of 4"] for number in range(1, 5)]
    texts = [section.text for section in parsed(tmp_path, "r.pdf", pdf(*pages)).sections]
    assert texts == [f"Fact number {number} is here." for number in range(1, 5)]


def test_a_pdf_that_everyone_may_open_is_read_although_it_is_encrypted(tmp_path: Path) -> None:
    assert parsed(tmp_path, "open.pdf", encrypted(pdf(["Read me."]), "")).text == "Read me."


def test_a_broken_page_of_a_pdf_is_counted_and_the_others_are_read(tmp_path: Path) -> None:
    content = pdf(["First page."], ["Second page."]).replace(b"(Second page.)", b"<Second page.>")
    (tmp_path / "r.pdf").write_bytes(content)
    report = ReadReport()
    (document,) = read_documents(str(tmp_path / "r.pdf"), report)
    assert document.text == "First page."
    assert (report.num_documents, report.examples) == (1, {"broken PDF page": ["r.pdf, page 2"]})


def test_a_page_in_two_columns_is_read_column_by_column(tmp_path: Path) -> None:
    title = "A title that goes over the whole width of the page, as titles of papers do, and is long enough for it"
    left = [f"The owl of line {number} hunts in the night and" for number in range(12)]
    right = [f"the mouse of line {number} runs over the field or" for number in range(12)]
    text = parsed(tmp_path, "c.pdf", pdf_in_columns(title, list(zip(left, right, strict=True)))).text
    assert " ".join(text.split()) == " ".join([title, *left, *right])


def test_a_table_of_two_columns_is_read_row_by_row(tmp_path: Path) -> None:
    rows = [(f"Part {number}", f"{number} EUR") for number in range(12)]
    text = parsed(tmp_path, "t.pdf", pdf_in_columns("Prices", rows)).text
    assert "Part 3 3 EUR Part 4 4 EUR" in " ".join(text.split())


NESTED = {
    "n.html": """<table><tr><th>Part</th><th>Sizes</th></tr><tr><td>Bolt</td><td><table><tr><th>mm</th><th>EUR</th></tr>
        <tr><td>5</td><td>1.20</td></tr><tr><td>6</td><td>1.40</td></tr></table></td></tr>
        <tr><td>Nut</td><td>only one size</td></tr></table>""",
    "n.rst": """\
+------+---------------+
| Part | Sizes         |
+======+===============+
| Bolt | +----+------+ |
|      | | mm | EUR  | |
|      | +====+======+ |
|      | | 5  | 1.20 | |
|      | +----+------+ |
|      | | 6  | 1.40 | |
|      | +----+------+ |
+------+---------------+
| Nut  | only one size |
+------+---------------+
""",
    "n.adoc": """\
[cols="1,2a",options="header"]
|===
| Part | Sizes

| Bolt
|
[options="header"]
!===
! mm ! EUR

! 5 ! 1.20
! 6 ! 1.40
!===

| Nut
| only one size
|===
""",
}


@pytest.mark.parametrize("name", list(NESTED))
def test_a_table_in_a_cell_is_read_once_row_by_row(tmp_path: Path, name: str) -> None:
    text = parsed(tmp_path, name, NESTED[name].encode()).text
    assert text == "Part: Bolt; Sizes: mm: 5; EUR: 1.20. mm: 6; EUR: 1.40\nPart: Nut; Sizes: only one size"


def test_a_table_in_a_cell_of_an_open_document_is_read_once(tmp_path: Path) -> None:
    def table(*rows: tuple[str, str]) -> str:
        cells = ["".join(f"<c:table-cell>{cell}</c:table-cell>" for cell in row) for row in rows]
        return f"<c:table>{''.join(f'<c:table-row>{row}</c:table-row>' for row in cells)}</c:table>"

    def words(*texts: str) -> tuple[str, ...]:
        return tuple(f"<t:p>{text}</t:p>" for text in texts)

    inner = table(words("mm", "EUR"), words("5", "1.20"))  # type: ignore[arg-type]
    outer = table(words("Part", "Sizes"), ("<t:p>Bolt</t:p>", inner), words("Nut", "one"))  # type: ignore[arg-type]
    spaces = 'xmlns:o="urn:o" xmlns:c="urn:table" xmlns:t="urn:text"'
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        archive.writestr("mimetype", "application/vnd.oasis.opendocument.text")
        archive.writestr("content.xml", f"<o:text {spaces}>{outer}</o:text>")
    text = parsed(tmp_path, "n.odt", content.getvalue()).text
    assert text == "Part: Sizes\nBolt: mm: 5; EUR: 1.20\nNut: one"


def test_tables_in_tables_without_end_cost_little(tmp_path: Path) -> None:
    row = "<tr><th>a</th><td>"
    text = parsed(tmp_path, "d.html", (f"<table>{row}" * 3000 + "words").encode()).text
    assert "words" in text
