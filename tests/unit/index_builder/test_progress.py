"""What a stage costs is its own cost, not that of an earlier one."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from index_builder.__main__ import main
from index_builder.progress import Progress, forget_peak
from tests.unit.index_builder.dumps import article, write_dump

_MIB = 1 << 20


def hold(mib: int) -> None:
    np.ones(mib * _MIB, dtype=np.uint8).sum()


def test_the_peak_of_a_stage_is_its_own_and_that_of_all_counts_between_stages_too() -> None:
    if not forget_peak():
        pytest.skip("needs a Linux that lets a process reset its peak of memory through /proc/self/clear_refs")
    progress = Progress(quiet=True)
    with progress.stage("large", 1, "step"):
        hold(200)
    hold(400)
    with progress.stage("small", 1, "step"):
        hold(1)
    large, small = progress.costs["large"].peak_mib, progress.costs["small"].peak_mib
    assert large - small > 150
    assert progress.peak_mib - large > 150


def test_the_report_tells_time_and_memory_of_every_stage(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    dump = write_dump(tmp_path / "d.xml", article(1), article(2))
    flags = ["--source", str(dump), "--encoder", "sample", "--out", str(tmp_path / "out")]
    assert main(["--quiet", "build", *flags]) == 0
    report = capsys.readouterr().out
    stages = re.findall(
        r"^  (\w+) +[\d.]+ s   peak memory \d+ MiB, largest child so far \d+ MiB$", report, re.MULTILINE
    )
    assert stages == [
        "passages", "embed", "texts", "vectors", "words", "inversion",
        "index", "floor", "checksum", "exact", "evaluate",
    ]  # fmt: skip
    assert re.search(r"^  peak memory of all, \d+ MiB$", report, re.MULTILINE)
