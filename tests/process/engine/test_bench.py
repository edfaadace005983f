"""The benchmark runs end to end on real ranks and writes the report that the README describes."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.process.engine.engine_group import ROOT
from tests.process.engine.small_models import make

FIGURES = {
    *("batch", "prefill_tokens_per_s", "decode_tokens_per_s", "time_to_first_token_s", "step_overhead_fraction"),
}
REPORT = {
    *("results", "start_to_first_token_s", "peak_memory_bytes", "read_limit_fraction"),
    *("machine", "versions", "command"),
}


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> dict[str, object]:
    folder = tmp_path_factory.mktemp("bench")
    make("neox", folder / "model")
    run_bench(folder, "--model", str(folder / "model"), "--tensor-parallel-degree", "2", "--compare", "transformers")
    written: dict[str, object] = json.loads((folder / "report.json").read_text("utf-8"))
    return written


def run_bench(folder: Path, *arguments: str) -> None:
    work = ("--batch", "1,3", "--prompt-tokens", "20", "--new-tokens", "8", "--json", str(folder / "report.json"))
    command = [sys.executable, "-m", "server.engine.bench", *arguments, *work]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=180, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    assert "start to first token" in done.stdout


def test_the_report_has_every_figure_for_every_batch(report: dict[str, object]) -> None:
    assert report.keys() >= REPORT
    rows = report["results"]
    assert isinstance(rows, list)
    assert [row["batch"] for row in rows] == [1, 3]
    for row in rows:
        assert row.keys() >= FIGURES
        assert row["decode_limited_by"] in ("reading", "products")
        assert 0 < row["decode_tokens_per_s"] < row["decode_limit_tokens_per_s"]
        assert all(row[name] > 0 for name in FIGURES)
        assert row["step_overhead_fraction"] < 1


def test_the_rival_did_the_same_work_in_the_same_run(report: dict[str, object]) -> None:
    compared = report["compare"]
    assert isinstance(compared, dict)
    assert [row["batch"] for row in compared["transformers"]] == [1, 3]
    assert all(row["decode_tokens_per_s"] > 0 for row in compared["transformers"])


def test_start_memory_and_the_read_limit_are_measured(report: dict[str, object]) -> None:
    assert 0 < float(str(report["start_to_first_token_s"])) < 180
    assert int(str(report["peak_memory_bytes"])) > 100 << 20
    assert float(str(report["read_limit_fraction"])) > 0
