"""How fast one core turns a dump into documents, and documents into passages."""

from __future__ import annotations

import time
from collections.abc import Callable

from index_builder.documents import ReadReport, SkippedError
from index_builder.documents.source import Source, open_source
from index_builder.passages.batch import BatchCutter, item_batches
from index_builder.passages.window import WindowShape

_MIN_SECONDS = 5.0


def measure(source_name: str) -> dict[str, object]:
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
