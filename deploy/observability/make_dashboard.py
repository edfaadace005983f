"""The Grafana dashboard, written from a short table: `python -m deploy.observability.make_dashboard`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

DASHBOARD = Path(__file__).parent / "dashboard.json"
_WIDTH, _HEIGHT, _COLUMNS = 8, 7, 3
_DATA = {"type": "prometheus", "uid": "${source}"}


def _quantiles(metric: str, by: str = "") -> list[tuple[str, str]]:
    group = f"le, {by}" if by else "le"
    label = f"{{{{{by}}}}} " if by else ""
    return [
        (f"histogram_quantile({q}, sum by ({group}) (rate({metric}_bucket[5m])))", f"{label}p{int(100 * q)}")
        for q in (0.5, 0.95)
    ]


# Title, unit, and each line's expression with its legend.
PANELS: list[tuple[str, str, list[tuple[str, str]]]] = [
    ("Requests by status", "reqps", [("sum by (status) (rate(ock_requests_total[5m]))", "{{status}}")]),
    ("Errors by word", "reqps", [('sum by (code) (rate(ock_requests_total{code!=""}[5m]))', "{{code}}")]),
    ("Requests at work", "short", [("ock_admitted", "at work"), ("ock_admission_limit", "limit")]),
    ("First words of a stream", "s", _quantiles("ock_first_text_seconds")),
    ("Between tokens", "s", _quantiles("ock_between_tokens_seconds")),
    ("Whole requests", "s", _quantiles("ock_request_seconds", "route")),
    ("Phases of a turn, p95", "s", _quantiles("ock_phase_seconds", "phase")[1:]),
    ("Tokens", "short", [
        ("rate(ock_engine_generated_tokens_total[1m])", "decoded"),
        ("rate(ock_engine_prefilled_tokens_total[1m])", "prefilled"),
        ("rate(ock_engine_cached_tokens_total[1m])", "reused"),
    ]),
    ("Guessed tokens", "short", [
        ("rate(ock_engine_drafted_tokens_total[1m])", "drafted"),
        ("rate(ock_engine_accepted_tokens_total[1m])", "accepted"),
    ]),
    ("Engine", "short", [
        ("ock_engine_running", "running"), ("ock_engine_waiting", "waiting"), ("ock_engine_ready", "ready"),
    ]),
    ("Blocks of keys and values in use", "percentunit", [
        ("1 - ock_engine_free_blocks / ock_engine_total_blocks", "{{model}}"),
    ]),
    ("A step", "s", [("ock_engine_step_seconds", "last step")]),
    ("Verdicts", "short", [
        ("sum by (role, decision) (rate(ock_moderation_decisions_total[5m]))", "{{role}} {{decision}}"),
    ]),
    ("Searches that failed", "short", [("rate(ock_retrieval_failures_total[5m])", "failed")]),
    ("Memory", "bytes", [
        ("process_resident_memory_bytes", "front"), ("ock_rank_resident_memory_bytes", "rank {{rank}}"),
    ]),
]  # fmt: skip


def dashboard() -> dict[str, Any]:
    """The whole dashboard, for Grafana 10 and later."""
    source = {
        "name": "source", "type": "datasource", "query": "prometheus", "label": "Data source", "hide": 0,
        "refresh": 1, "regex": "", "multi": False, "includeAll": False, "options": [], "current": {},
    }  # fmt: skip
    return {
        "uid": "openchatkit",
        "title": "OpenChatKit server",
        "schemaVersion": 39,
        "version": 1,
        "editable": True,
        "refresh": "30s",
        "time": {"from": "now-1h", "to": "now"},
        "tags": ["openchatkit"],
        "templating": {"list": [source]},
        "annotations": {"list": []},
        "panels": [_panel(index, *panel) for index, panel in enumerate(PANELS)],
    }


def _panel(index: int, title: str, unit: str, lines: list[tuple[str, str]]) -> dict[str, Any]:
    return {
        "id": index + 1,
        "type": "timeseries",
        "title": title,
        "datasource": _DATA,
        "gridPos": {
            "h": _HEIGHT, "w": _WIDTH, "x": _WIDTH * (index % _COLUMNS), "y": _HEIGHT * (index // _COLUMNS),
        },
        "fieldConfig": {"defaults": {"unit": unit, "min": 0}, "overrides": []},
        "options": {"legend": {"displayMode": "list", "placement": "bottom"}},
        "targets": [
            {"refId": chr(ord("A") + number), "expr": expression, "legendFormat": legend, "datasource": _DATA}
            for number, (expression, legend) in enumerate(lines)
        ],
    }  # fmt: skip


if __name__ == "__main__":
    DASHBOARD.write_text(json.dumps(dashboard(), indent=1) + "\n", "utf-8")
