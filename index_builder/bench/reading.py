"""How fast a dump becomes documents and passages, and how much of what a reader of a wiki page sees is in its text."""

from __future__ import annotations

import json
import re
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from index_builder.documents import ReadReport, SkippedError
from index_builder.documents.source import Source, open_source
from index_builder.documents.wiki.mediawiki import RawPage, page_markup, parse_page
from index_builder.documents.wiki.wikitext import read_markup
from index_builder.passages.batch import BatchCutter, item_batches
from index_builder.passages.window import WindowShape

_WORD = re.compile(r"\w+")
_REFERENCES = re.compile(r"<ref\b[^<>]*?/>|<ref\b.*?</ref>|<!--.*?-->", re.DOTALL | re.IGNORECASE)
_MIN_SECONDS = 5.0


def measure_fidelity(cases: Path, source: str) -> dict[str, object]:
    """Cases by kind, ours and mwparserfromhell's strip; and the words of a dump that its strip has and ours lacks."""
    return {"cases": cases_by_kind(cases), "dump": _words_of(source)}


def cases_by_kind(cases: Path) -> dict[str, dict[str, str]]:
    """For every kind of markup, how many parts of all its cases are right: by our reading, and by the other's."""
    found: dict[str, list[tuple[int, int, int]]] = {}
    for line in cases.read_text().splitlines():
        case = json.loads(line)
        wanted = len(case["seen"]) + len(case.get("unseen", []))
        counts = (_right(_ours(case["markup"]), case), _right(_stripped(case["markup"]), case), wanted)
        found.setdefault(case["kind"], []).append(counts)
    sums = {kind: [sum(column) for column in zip(*counts, strict=True)] for kind, counts in found.items()}
    return {
        kind: {"ours": f"{ours}/{wanted}", "mwparserfromhell": f"{theirs}/{wanted}"}
        for kind, (ours, theirs, wanted) in sums.items()
    }


def _right(text: str, case: dict[str, list[str]]) -> int:
    flat = " ".join(text.split())
    return sum(part in flat for part in case["seen"]) + sum(part not in flat for part in case.get("unseen", []))


def _ours(markup: str) -> str:
    return " ".join(section.text for section in read_markup(markup).sections)


def _stripped(markup: str) -> str:
    import mwparserfromhell

    return str(mwparserfromhell.parse(markup).strip_code())


def _words_of(source: str) -> dict[str, object]:
    """Over all articles: words of each text, and the share of the other's that is in ours."""
    ours_total = theirs_total = common = 0
    opened = open_source(source)
    for item in opened.items(ReadReport()):
        if not isinstance(item, RawPage):
            continue
        try:
            document = parse_page(item)
        except SkippedError:
            continue
        headings = " ".join(section.heading for section in document.sections)
        ours = Counter(_WORD.findall(f"{headings} {document.text}".lower()))
        theirs = Counter(_WORD.findall(_stripped(_REFERENCES.sub("", page_markup(item))).lower()))
        ours_total += ours.total()
        theirs_total += theirs.total()
        common += (ours & theirs).total()
    return {
        "words_of_ours": ours_total,
        "words_of_mwparserfromhell": theirs_total,
        "share_of_theirs_in_ours": round(common / max(1, theirs_total), 4),
    }


def measure_parsing(source_name: str) -> dict[str, object]:
    """MB/s (10^6 bytes) of markup and of the file as it is stored, by time of the core and by the clock."""
    source = open_source(source_name)
    return {
        "source": source_name,
        "parsing": _repeated(lambda: _parse(source)),
        "parsing_and_cutting": _repeated(lambda: _cut(source)),
    }


def _repeated(work: Callable[[], ReadReport]) -> dict[str, object]:
    rounds = stored = markup = 0
    started, core_started = time.perf_counter(), time.process_time()
    while time.process_time() - core_started < _MIN_SECONDS:
        report = work()
        rounds, stored, markup = rounds + 1, stored + report.source_bytes, markup + report.markup_bytes
    core, clock = time.process_time() - core_started, time.perf_counter() - started
    return {
        "rounds": rounds,
        "documents": report.num_documents,
        "skipped": dict(report.skipped),
        "markup_mb": round(markup / rounds / 1e6, 2),
        "stored_mb": round(stored / rounds / 1e6, 2),
        "markup_mb_per_core_s": round(markup / core / 1e6, 2),
        "stored_mb_per_core_s": round(stored / core / 1e6, 2),
        "markup_mb_per_s": round(markup / clock / 1e6, 2),
        "stored_mb_per_s": round(stored / clock / 1e6, 2),
    }


def _parse(source: Source) -> ReadReport:
    report = ReadReport()
    for item in source.items(report):
        try:
            source.document(item)
        except SkippedError as skipped:
            report.skip(skipped.cause, skipped.name)
        else:
            report.num_documents += 1
    return report


def _cut(source: Source) -> ReadReport:
    report = ReadReport()
    cutter = BatchCutter(source, WindowShape())
    for batch in item_batches(source.items(report), 0):
        report.add(cutter(batch).report)
    return report
