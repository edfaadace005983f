"""A document that never ends, or eats all memory, costs seconds and is counted."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from index_builder.documents.source import open_source
from index_builder.passages.passage_shards import PassageRequest, PassageTotals, write_passages
from index_builder.processes import Budget, Call, LimitError, Workers, watched
from index_builder.progress import Progress
from index_builder.work_folder import WorkFolder

SMALL = Budget(1.0, 64 << 20)


def endless(_: object) -> None:
    while True:
        pass


def hungry(_: object) -> int:
    return len(bytearray(1 << 30))


def deadly(_: object) -> None:
    os._exit(7)


def doubled(number: int) -> int:
    return 2 * number


def refused(_: object) -> None:
    raise ValueError("not this one")


def test_what_ends_in_time_returns_or_raises_as_it_would_here() -> None:
    assert watched(Call(doubled, 21), SMALL) == 42
    with pytest.raises(ValueError, match="not this one"):
        watched(Call(refused, 0), SMALL)


@pytest.mark.parametrize(
    ("function", "cause"), [(endless, "time limit"), (hungry, "memory limit"), (deadly, "ends its reader")]
)
def test_what_takes_too_much_fails_and_the_next_call_works(function: object, cause: str) -> None:
    started = time.monotonic()
    with pytest.raises(LimitError, match=cause):
        watched(Call(function, 0), SMALL)  # type: ignore[arg-type]
    assert time.monotonic() - started < 60
    assert watched(Call(doubled, 4), SMALL) == 8


def test_a_bad_document_costs_itself_only(tmp_path: Path) -> None:
    folder = tmp_path / "docs"
    folder.mkdir()
    (folder / "a.md").write_text("One sentence. Two sentences.")
    (folder / "b.html").write_text("<div><b>" * 60_000 + "Below.")
    (folder / "c.html").write_text("".join(f"<a{n}>" for n in range(40_000)) + "Below.")
    (folder / "z.txt").write_text("The last one.")
    totals = cut(folder, tmp_path / "w")
    assert totals.num_documents >= 3
    assert set(totals.skipped) <= {"document over the time limit", "document over the memory limit", "broken document"}


def cut(folder: Path, work: Path) -> PassageTotals:
    source = open_source(str(folder))
    return write_passages(source, PassageRequest(str(folder)), WorkFolder(work), Workers(1), Progress(quiet=True))
