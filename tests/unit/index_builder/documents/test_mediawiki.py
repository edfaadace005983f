"""Dumps are read page by page: what is no article is counted, what is broken costs only itself."""

from __future__ import annotations

import bz2
import gzip
from pathlib import Path

import pytest

from index_builder.documents import ReadReport, read_documents
from index_builder.documents.source import SourceError
from index_builder.documents.wiki.mediawiki import MAX_PAGE_BYTES
from tests.unit.index_builder.dumps import HEAD, TAIL, article, dump, page, write_dump


def read(path: Path) -> tuple[list[str], ReadReport]:
    report = ReadReport()
    return [document.title for document in read_documents(str(path), report)], report


def test_an_article_has_its_id_title_and_address(tmp_path: Path) -> None:
    (document,) = read_documents(str(write_dump(tmp_path / "d.xml", page("A B/C & D", "Text here.", page_id=7))))
    assert (document.document_id, document.title) == ("7", "A B/C & D")
    assert document.url == "https://wiki.example/wiki/A_B/C_%26_D"
    assert document.text == "Text here."


def test_what_is_no_article_is_counted_by_cause(tmp_path: Path) -> None:
    titles, report = read(
        write_dump(
            tmp_path / "d.xml.bz2",
            article(1),
            page("Old", "#REDIRECT [[New]]"),
            page("Older", "x", extra='<redirect title="New" />'),
            page("Talk:A", "Hello there.", namespace=1),
            page("Template:A", "Hello there.", namespace=10),
            page("Mercury", "Mercury may be:\n* a planet\n{{disambiguation}}"),
            page("Mars (disambiguation)", "Several things."),
            page("Empty", "{{only|a|template}}"),
            article(2),
        )
    )
    assert titles == ["Article 1", "Article 2"]
    assert report.skipped == {"redirect": 2, "other namespace": 2, "disambiguation": 2, "no prose": 1}
    assert report.num_documents == 2


@pytest.mark.parametrize(
    "template",
    [
        "disambiguation", "Disambig", "human name disambiguation", "hndis", "hndis-cleanup|date=May", "dab",
        "disambiguation cleanup|date=May 2020", "Begriffsklärung", "homonymie", "desambiguación", "desambiguação",
        "многозначность", "曖昧さ回避", "消歧义",
    ],
)  # fmt: skip
def test_a_page_that_tells_titles_apart_is_no_article(tmp_path: Path, template: str) -> None:
    path = write_dump(tmp_path / "d.xml", page("Mercury", f"Mercury may be a planet.\n{{{{{template}}}}}"))
    assert read(path)[1].skipped == {"disambiguation": 1}


@pytest.mark.parametrize("template", ["disambiguation needed|date=May 2020", "disambig needed", "dn|x", "About|a"])
def test_an_article_with_a_link_to_such_a_page_is_one(tmp_path: Path, template: str) -> None:
    assert read(write_dump(tmp_path / "d.xml", page("A", f"It is by [[B]].{{{{{template}}}}}")))[0] == ["A"]


@pytest.mark.parametrize(
    "broken",
    [
        "<page><title>Bad</title><ns>0</ns><revision><text>&undefined;</text></revision></page>\n",
        "<page><title>Bad</title><ns>0</ns><revision><text>x</revision></page>\n",
        "<page><title>Bad</title><ns>0</ns><revision><text>\x01</text></revision></page>\n",
        "<page><title>Bad</title><ns>0</ns><revision><text>never closed\n",
    ],
)
def test_a_broken_page_costs_only_itself(tmp_path: Path, broken: str) -> None:
    titles, report = read(write_dump(tmp_path / "d.xml", article(1), broken, article(2)))
    assert titles == ["Article 1", "Article 2"]
    if "never closed" not in broken:
        assert report.skipped == {"broken page": 1}
        assert report.examples == {"broken page": ["Bad"]}


def test_invalid_utf8_costs_only_its_page(tmp_path: Path) -> None:
    path = tmp_path / "d.xml"
    path.write_bytes(dump(article(1), page("Bad", "MARK"), article(2)).replace(b"MARK", b"\xff\xfe"))
    titles, report = read(path)
    assert titles == ["Article 1", "Article 2"]
    assert report.skipped == {"broken page": 1}


def test_a_page_without_end_is_skipped_when_it_passes_the_limit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("index_builder.documents.wiki.mediawiki.MAX_PAGE_BYTES", 1 << 20)
    endless = "<page><title>Endless</title><revision><text>" + "x " * (1 << 20)
    titles, report = read(write_dump(tmp_path / "d.xml", article(1), endless, article(2), article(3)))
    assert titles == ["Article 1", "Article 3"] or titles == ["Article 1", "Article 2", "Article 3"]
    assert report.skipped["page over the size limit"] >= 1
    assert MAX_PAGE_BYTES == 64 << 20


@pytest.mark.parametrize("suffix", [".xml", ".xml.bz2", ".xml.gz"])
def test_a_truncated_dump_gives_what_is_whole(tmp_path: Path, suffix: str) -> None:
    content = dump(*(article(number) for number in range(1, 200)))
    packed = {".xml": content, ".xml.bz2": bz2.compress(content), ".xml.gz": gzip.compress(content)}[suffix]
    path = tmp_path / f"d{suffix}"
    path.write_bytes(packed[: len(packed) * 3 // 4])
    titles, report = read(path)
    assert titles == [f"Article {number}" for number in range(1, len(titles) + 1)]
    assert suffix == ".xml.bz2" or len(titles) > 50
    assert report.skipped["damaged file"] >= 1


def test_a_damaged_stream_of_many_costs_only_its_pages(tmp_path: Path) -> None:
    streams = [bz2.compress(HEAD.encode())]
    streams += [bz2.compress("".join(article(10 * n + i) for i in range(10)).encode()) for n in range(6)]
    streams.append(bz2.compress(TAIL.encode()))
    damaged = bytearray(streams[3])
    damaged[len(damaged) // 2 : len(damaged) // 2 + 20] = b"\0" * 20
    streams[3] = bytes(damaged)
    path = tmp_path / "d.xml.bz2"
    path.write_bytes(b"".join(streams))
    titles, report = read(path)
    assert titles == [f"Article {number}" for number in range(60) if not 20 <= number < 30]
    assert report.skipped == {"damaged file": 1}


def test_concatenated_dumps_are_read_to_the_end(tmp_path: Path) -> None:
    path = tmp_path / "d.xml.bz2"
    path.write_bytes(bz2.compress(dump(article(1))) + bz2.compress(dump(article(2), article(3))))
    assert read(path)[0] == ["Article 1", "Article 2", "Article 3"]


def test_the_last_revision_counts(tmp_path: Path) -> None:
    history = "<revision><text>Old words.</text></revision>"
    path = write_dump(tmp_path / "d.xml", page("A", "New words.", extra=history))
    (document,) = read_documents(str(path))
    assert document.text == "New words."


def test_entities_are_never_expanded(tmp_path: Path) -> None:
    bomb = '<!DOCTYPE x [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;&a;">]>'
    path = tmp_path / "d.xml"
    path.write_bytes((bomb + HEAD + page("A", "x").replace("x</text>", "&b;</text>") + article(1) + TAIL).encode())
    titles, report = read(path)
    assert titles == ["Article 1"]
    assert report.skipped == {"broken page": 1}


def test_a_missing_source_is_named(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"nothing\.xml': no such file or folder; legal are .*, and 'sample'"):
        list(read_documents(str(tmp_path / "nothing.xml")))


def test_the_sample_dump_has_its_articles() -> None:
    titles, report = read(Path("sample"))
    assert {"Abraham Lincoln", "Albedo", "Apollo 11"} <= set(titles)
    assert len(titles) == report.num_documents == 98
    pages = {cause: count for cause, count in report.skipped.items() if not cause.startswith("part of")}
    assert pages == {"redirect": 99, "disambiguation": 8, "other namespace": 1}
    assert report.skipped["part of a document: reference"] > 8000
