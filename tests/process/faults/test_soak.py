"""The soak itself, short: a server of its own, a few clients, and whatever faults half a minute has room for."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from tests import ROOT


def test_the_books_of_half_a_minute_with_faults_balance(tmp_path: Path) -> None:
    report = tmp_path / "report.json"
    flags = ["--start", "--faults", "--minutes", "0.5", "--clients", "3", "--folder", tmp_path, "--json", report]
    ran = subprocess.run(
        [sys.executable, "-m", "deploy", "soak", *flags], cwd=ROOT, capture_output=True, text=True, timeout=400
    )
    assert report.is_file(), ran.stderr[-4000:]
    found = json.loads(report.read_text("utf-8"))
    assert found["wrong"] == [], (tmp_path / "server.log").read_text("utf-8", "replace")[-4000:]
    assert found["begun"] == found["ended"] > 10
    assert found["turns_answered"] > 3
    assert found["faults"]
