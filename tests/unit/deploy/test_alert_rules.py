"""The alert rules, run by Prometheus itself: each fires on its fault alone, and none on a server that is well."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests import ROOT

ALERTS = ROOT / "deploy" / "observability" / "alerts.yaml"
RULES = [rule for group in yaml.safe_load(ALERTS.read_text("utf-8"))["groups"] for rule in group["rules"]]

# An hour of samples, one a minute, in promtool's words: a value, or start + step, times how often.
WELL = {
    "ock_engine_ready": "1x60",
    "ock_engine_status_age_seconds": "0.5x60",
    'ock_requests_total{status="200"}': "0+60x60",
    'ock_requests_total{status="429"}': "0x60",
    'ock_requests_total{status="503"}': "0+1x60",
    'ock_first_text_seconds_bucket{le="10"}': "0+60x60",
    'ock_first_text_seconds_bucket{le="30"}': "0+60x60",
    'ock_first_text_seconds_bucket{le="+Inf"}': "0+60x60",
    'ock_engine_free_blocks{model="chat"}': "90x60",
    'ock_engine_total_blocks{model="chat"}': "100x60",
    "ock_engine_preemptions_total": "0x60",
    "ock_retrieval_failures_total": "0x60",
    "ock_engine_nonfinite_requests_total": "0x60",
}
FAULTS = {
    "OpenChatKitNotReady": {"ock_engine_ready": "0x60"},
    "OpenChatKitEngineSilent": {"ock_engine_status_age_seconds": "0+60x60"},
    "OpenChatKitErrors": {'ock_requests_total{status="503"}': "0+3x60"},
    "OpenChatKitOverloaded": {'ock_requests_total{status="429"}': "0+1x60"},
    "OpenChatKitSlowFirstWords": {'ock_first_text_seconds_bucket{le="10"}': "0+50x60"},
    "OpenChatKitBlocksShort": {
        'ock_engine_free_blocks{model="chat"}': "4x60",
        "ock_engine_preemptions_total": "0+2x60",
    },
    "OpenChatKitRetrievalFails": {"ock_retrieval_failures_total": "0+10x60"},
    "OpenChatKitNonFinite": {"ock_engine_nonfinite_requests_total": "0x30 1x29"},
}


def promtool(*words: str | Path) -> str:
    assert shutil.which("promtool"), "promtool is needed: it is in Debian's package prometheus"
    done = subprocess.run(["promtool", *words], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def expected(rule: dict[str, Any], series: dict[str, str]) -> list[dict[str, Any]]:
    """The alert as it fires, with the labels of what it is about."""
    about = {"model": "chat"} if rule["alert"] == "OpenChatKitBlocksShort" else {}
    labels = rule["labels"] | about
    return [{"exp_labels": labels, "exp_annotations": rule["annotations"]}] if series != WELL else []


def test_the_rules_are_legal() -> None:
    assert f"{len(RULES)} rules found" in promtool("check", "rules", ALERTS)


@pytest.mark.parametrize("fault", [None, *FAULTS])
def test_an_alert_fires_on_its_fault_and_no_other_does(fault: str | None, tmp_path: Path) -> None:
    assert set(FAULTS) == {rule["alert"] for rule in RULES}
    series = WELL | FAULTS.get(fault or "", {})
    asked = [
        {
            "eval_time": "45m",
            "alertname": rule["alert"],
            "exp_alerts": expected(rule, series) if rule["alert"] == fault else [],
        }
        for rule in RULES
    ]
    case = {
        "interval": "1m",
        "input_series": [{"series": name, "values": values} for name, values in series.items()],
        "alert_rule_test": asked,
    }
    path = tmp_path / "test.yaml"
    path.write_text(yaml.safe_dump({"rule_files": [str(ALERTS)], "evaluation_interval": "1m", "tests": [case]}))
    promtool("test", "rules", path)
