"""What is measured of calls and turns, and that dashboard and alert rules ask for nothing else."""

from __future__ import annotations

import json
import logging
import re

import msgspec
import pytest
import yaml
from flask.testing import FlaskClient
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from deploy.observability.make_dashboard import DASHBOARD, dashboard
from server.chat.records.phases import DECODE, FIRST_TOKEN, Phase, PhaseClock
from server.config import Settings
from server.log_setup import set_up_logging
from server.web.app import create_app
from server.web.call.collectors import _RANK
from tests.unit.web.fakes import Fakes, result

ALERTS = DASHBOARD.with_name("alerts.yaml")
TRACEPARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def timed(fakes: Fakes) -> None:
    """Make hello a turn of two phases."""
    phases = (Phase(FIRST_TOKEN, 1000.0, 0.5), Phase(DECODE, 1000.5, 0.2))
    fakes.turns.scripts["hello"] = [
        lambda request: msgspec.structs.replace(result(request, "one two three"), phases=phases)
    ]


def test_phases_are_histograms_and_timings_of_the_answer(fakes: Fakes, client: FlaskClient) -> None:
    timed(fakes)
    assert client.post("/invocations", json={"inputs": "hello"}).json["timings"] == {"first_token": 0.5, "decode": 0.2}
    body = {"messages": [{"role": "user", "content": "hello"}]}
    assert client.post("/v1/chat/completions", json=body).json["openchatkit"]["timings"]["decode"] == 0.2
    text = client.get("/metrics").text
    assert 'ock_phase_seconds_sum{phase="decode"} 0.4' in text
    assert 'ock_phase_seconds_count{phase="door"} 2.0' in text
    assert "ock_between_tokens_seconds_sum 0.2" in text
    assert "process_resident_memory_bytes" in text


def test_openmetrics_comes_to_whoever_accepts_it(client: FlaskClient) -> None:
    response = client.get("/metrics", headers={"Accept": "application/openmetrics-text; version=1.0.0"})
    assert response.mimetype == "application/openmetrics-text"
    assert {family.name for family in text_string_to_metric_families(response.text)} > {
        "ock_requests",
        "ock_phase_seconds",
    }
    assert client.get("/metrics").mimetype == "text/plain"


def test_a_clock_times_what_fails_and_ends_a_phase_once() -> None:
    clock = PhaseClock()
    with pytest.raises(ValueError, match="no"), clock.phase("judge"):
        raise ValueError("no")
    took = clock.seconds["judge"]
    clock.end("judge")
    assert clock.seconds["judge"] == took
    assert clock.timed("search", len)("abc") == 3
    assert [each.name for each in clock.phases] == ["judge", "search"]


def test_ranks_are_known_by_their_command_lines() -> None:
    assert _RANK.search("python -m server.engine.rank --rank 3")[1] == "3"  # type: ignore[index]
    assert _RANK.search("python -m server.engine.rank --attempt 2 --rank 0 ")[1] == "0"  # type: ignore[index]


def test_the_dashboard_is_what_its_table_says_and_every_panel_stands_in_its_place() -> None:
    made = json.loads(DASHBOARD.read_text("utf-8"))
    assert made == dashboard(), "run python -m deploy.observability.make_dashboard"
    assert {"uid", "title", "schemaVersion", "panels", "templating", "time"} <= set(made)
    places = [(each["gridPos"]["x"], each["gridPos"]["y"]) for each in made["panels"]]
    assert len(set(places)) == len(places)
    assert len({each["id"] for each in made["panels"]}) == len(places)


def test_dashboard_and_alerts_ask_for_metrics_that_there_are(fakes: Fakes, client: FlaskClient) -> None:
    timed(fakes)
    client.post("/invocations", json={"inputs": "hello"})
    text = client.get("/metrics").text
    served = set(re.findall(r"^# TYPE (\S+)", text, re.MULTILINE)) | set(re.findall(r"^(\w+)[ {]", text, re.MULTILINE))
    rules = [rule for group in yaml.safe_load(ALERTS.read_text("utf-8"))["groups"] for rule in group["rules"]]
    asked = [target["expr"] for panel in dashboard()["panels"] for target in panel["targets"]]
    for expression in [*asked, *(rule["expr"] for rule in rules)]:
        names = set(re.findall(r"\b(?:ock|process)_\w+", expression))
        assert names
        assert names <= served | {f"{name}_bucket" for name in served}, expression
        assert expression.count("(") == expression.count(")")
    for rule in rules:
        assert set(rule) <= {"alert", "expr", "for", "labels", "annotations"}
        assert rule["annotations"]["summary"]


def test_debug_is_for_our_loggers_alone_and_json_is_one_object_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    root, ours = logging.getLogger(), logging.getLogger("server")
    kept, level = root.handlers[:], ours.level
    root.handlers.clear()
    try:
        set_up_logging(Settings(log_level="DEBUG", log_format="json"))
        logging.getLogger("urllib3.connectionpool").debug("GET /search?q=secret&key=secret")
        logging.getLogger("server.web").debug("said %s", 'a "word"')
        try:
            raise RuntimeError("boom")
        except RuntimeError:
            logging.getLogger("server.web").exception("failed")
        first, second = map(json.loads, capsys.readouterr().err.splitlines())
    finally:
        root.handlers[:] = kept
        ours.setLevel(level)
    assert (first["level"], first["logger"], first["message"]) == ("DEBUG", "server.web", 'said a "word"')
    assert "RuntimeError: boom" in second["exception"]


def test_a_call_is_a_span_of_the_trace_it_came_with_and_its_phases_are_inside(
    fakes: Fakes, monkeypatch: pytest.MonkeyPatch
) -> None:
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

    from server.web import app as app_module
    from server.web.call.tracing import Tracer

    kept = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(kept))
    monkeypatch.setattr(app_module, "open_tracer", lambda _: Tracer(provider))
    timed(fakes)
    client = create_app(fakes.services).test_client()
    client.post("/invocations", json={"inputs": "hello"}, headers={"traceparent": TRACEPARENT})
    client.get("/ping", headers={"traceparent": "nonsense"})
    *phases, whole, ping = kept.get_finished_spans()
    assert [each.name for each in phases] == ["first_token", "decode"]
    assert whole.name == "POST /invocations"
    assert {f"{each.context.trace_id:032x}" for each in (*phases, whole)} == {TRACEPARENT.split("-")[1]}
    assert f"{whole.parent.span_id:016x}" == TRACEPARENT.split("-")[2]
    assert all(each.parent.span_id == whole.context.span_id for each in phases)
    assert (phases[0].end_time - phases[0].start_time) / 1e9 == pytest.approx(0.5)
    assert ping.parent is None or not ping.parent.is_valid
    assert "one two" not in str([each.attributes for each in (*phases, whole)])


def test_the_log_names_the_trace(client: FlaskClient, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        client.post("/invocations", json={"inputs": "hello"}, headers={"traceparent": TRACEPARENT})
    assert f"trace={TRACEPARENT.split('-')[1]}" in caplog.text
