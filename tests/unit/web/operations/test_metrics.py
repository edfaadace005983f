from __future__ import annotations

import logging

import msgspec
import pytest
from flask.testing import FlaskClient
from prometheus_client.parser import text_string_to_metric_families

from server.chat.records.turn_records import TurnRequest, TurnResult
from server.web.app import create_app
from tests.unit.web.fakes import Fakes, result


def samples(client: FlaskClient) -> dict[str, float]:
    """Every sample by its name and labels."""
    response = client.get("/metrics")
    assert response.content_type.startswith("text/plain")
    found = {}
    for family in text_string_to_metric_families(response.text):
        for sample in family.samples:
            labels = ",".join(f"{name}={value}" for name, value in sorted(sample.labels.items()))
            found[f"{sample.name}{{{labels}}}"] = sample.value
    return found


def test_requests_turns_tokens_and_verdicts_are_counted(client: FlaskClient) -> None:
    client.post("/invocations", json={"inputs": "a b"})
    client.post("/invocations", json={"inputs": "a b", "stream": True}, buffered=True)
    client.post("/invocations", json={"inputs": ""})
    client.get("/nothing")
    found = samples(client)
    assert found["ock_requests_total{code=,route=/invocations,status=200}"] == 2
    assert found["ock_requests_total{code=invalid_field,route=/invocations,status=400}"] == 1
    assert found["ock_requests_total{code=not_found,route=unmatched,status=404}"] == 1
    assert found["ock_request_seconds_count{route=/invocations}"] == 3
    assert found["ock_first_text_seconds_count{route=/invocations}"] == 1
    assert found["ock_turns_total{finish_reason=stop}"] == 2
    assert found["ock_tokens_total{kind=prompt}"] == 40
    assert found["ock_tokens_total{kind=cached}"] == 32
    assert found["ock_tokens_total{kind=completion}"] == 8
    assert found["ock_moderation_decisions_total{decision=allow,label=casual,role=input}"] == 2
    assert found["ock_moderation_decisions_total{decision=allow,label=casual,role=output}"] == 2
    assert found["ock_admitted{}"] == 0
    assert found["ock_admission_limit{}"] == 6


def test_the_engine_s_last_status_is_shown(fakes: Fakes, client: FlaskClient) -> None:
    found = samples(client)
    assert found["ock_engine_ready{}"] == 1
    assert found["ock_engine_running{}"] == 3
    assert found["ock_engine_waiting{}"] == 1
    assert found["ock_engine_waiting_tokens{}"] == 17
    assert found["ock_engine_free_blocks{model=chat}"] == 90
    assert found["ock_engine_total_blocks{model=chat}"] == 100
    assert found["ock_engine_generated_tokens_total{}"] == 500
    fakes.engine.ready, fakes.engine.status = False, None
    found = samples(client)
    assert found["ock_engine_ready{}"] == 0
    assert "ock_engine_running{}" not in found


@pytest.mark.parametrize("enabled", [True, False])
def test_metrics_say_whether_texts_are_moderated(enabled: bool) -> None:
    fakes = Fakes() if enabled else Fakes(moderator=None, policy=None, retriever=None)
    found = samples(create_app(fakes.services).test_client())
    assert found["ock_moderation_enabled{}"] == enabled
    assert found["ock_retrieval_enabled{}"] == enabled


def test_a_turn_without_its_passages_counts_as_a_failed_retrieval(fakes: Fakes, client: FlaskClient) -> None:
    def unsourced(request: TurnRequest) -> TurnResult:
        warning = "retrieval failed; the answer has no sources"
        return msgspec.structs.replace(result(request, "a"), warnings=(warning,))

    fakes.turns.scripts["unsourced"] = [unsourced]
    record = client.post("/invocations", json={"inputs": "unsourced"}).json
    assert record["warnings"] == ["retrieval failed; the answer has no sources"]
    assert samples(client)["ock_retrieval_failures_total{}"] == 1


def test_one_line_a_request_with_ids_and_counts_and_no_text(
    client: FlaskClient, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    body = {"inputs": "my secret Lincoln", "parameters": {"session_id": "mine"}}
    client.post("/invocations", json=body, headers={"X-Request-Id": "one"})
    client.post("/invocations", json={**body, "stream": True}, headers={"X-Request-Id": "two"}, buffered=True)
    client.post("/invocations", json={"inputs": "my secret", "top": 1}, headers={"X-Request-Id": "three"})
    client.get("/sessions/mine", headers={"X-Request-Id": "four"})
    client.get("/ping")
    lines = [record.getMessage() for record in caplog.records if record.name == "server.web.access"]
    one, two, three, four = lines
    assert one.startswith(
        "request.end id=one trace=- method=POST route=/invocations status=200 code=- session=mine reason=stop turns=1 "
        "prompt=20 cached=16 new=5 sources=1 first_text_ms=- ms="
    )
    assert "id=two" in two
    assert "first_text_ms=-" not in two
    assert "status=400 code=unknown_field session=- reason=- turns=0" in three
    assert "route=/sessions/<session_id> status=200" in four
    assert "secret" not in caplog.text
