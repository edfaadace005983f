from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import pytest
from flask.testing import FlaskClient

from server.web.app import create_app
from tests.unit.web.fakes import FakeEngine, Fakes


def test_a_ready_front_answers_ping_with_an_empty_200(client: FlaskClient) -> None:
    response = client.get("/ping")
    assert (response.status_code, response.data) == (200, b"")


@pytest.mark.parametrize("detail", ["", "?detail=1"])
@pytest.mark.parametrize(
    ("broken", "state"),
    [
        ({"ready": False}, "starting"),
        ({"status": None}, "starting"),
        ({"status_age_s": 120.0}, "stale"),
        ({"ready": False, "welcome": None, "status": None}, "starting"),
    ],
)
def test_a_group_that_cannot_serve_fails_ping(
    fakes: Fakes, client: FlaskClient, broken: dict[str, object], state: str, detail: str
) -> None:
    for name, value in broken.items():
        setattr(fakes.engine, name, value)
    response = client.get(f"/ping{detail}")
    assert response.status_code == 503
    if detail:
        assert response.json["status"] == state
    else:
        assert response.json["error"]["code"] == "engine_unavailable"
        assert state in response.json["error"]["message"]


def test_ping_fails_once_the_server_is_shutting_down(fakes: Fakes) -> None:
    app = create_app(fakes.services)
    app.extensions["front"].concurrency.close()
    assert app.test_client().get("/ping").status_code == 503
    assert app.test_client().get("/ping?detail=1").json["status"] == "draining"


def test_the_detail_says_what_is_served(client: FlaskClient) -> None:
    group = {
        "ready": True,
        "world": 2,
        "dtype": "bfloat16",
        "models": {"chat": "/models/chat"},
        "max_context_tokens": 2048,
        "status_age_s": 0.2,
        "num_running": 3,
        "num_waiting": 1,
    }
    assert client.get("/ping?detail=1").json == {
        "status": "ready",
        "engine": group,
        "groups": [group],
        "moderation": "on",
        "policy": "openchatkit 1",
        "index": "wikipedia 1 0a1b2c3d",
        "admitted": 0,
        "admission_limit": 6,
    }


def test_the_detail_says_what_is_switched_off() -> None:
    fakes = Fakes(moderator=None, policy=None, retriever=None)
    detail = create_app(fakes.services).test_client().get("/ping?detail=1").json
    assert (detail["moderation"], detail["policy"], detail["index"]) == ("off", None, None)


@dataclass
class Watched:
    """What is known of the store, or of a group's ranks."""

    is_failing: bool = False
    silent_ranks: tuple[int, ...] = ()


def ping_of(fakes: Fakes, store: Watched | None = None, *groups: Watched) -> tuple[int, str]:
    services = dataclasses.replace(fakes.services, store_watch=store, signs_of_life=groups)  # type: ignore[arg-type]
    answer = create_app(services).test_client().get("/ping?detail=1")
    return answer.status_code, answer.json["status"]


def test_a_step_may_take_as_long_as_its_time_limit_while_the_ranks_give_signs_of_life(fakes: Fakes) -> None:
    fakes.engine.status_age_s = fakes.settings.step_timeout_s - 1
    assert ping_of(fakes, Watched(), Watched()) == (200, "ready")


def test_a_rank_that_is_dead_or_stopped_fails_ping_at_once(fakes: Fakes) -> None:
    assert ping_of(fakes, None, Watched(silent_ranks=(1,))) == (503, "rank silent")


def test_a_store_that_fails_fails_ping(fakes: Fakes) -> None:
    assert ping_of(fakes, Watched(is_failing=True), Watched()) == (503, "store failing")


def test_one_group_that_serves_is_enough() -> None:
    class Two(FakeEngine):
        @property
        def groups(self) -> tuple[FakeEngine, ...]:
            return (FakeEngine(), FakeEngine())

    fakes = Fakes(engine=Two())
    assert ping_of(fakes, None, Watched(silent_ranks=(0,)), Watched()) == (200, "ready")
    assert ping_of(fakes, None, Watched(silent_ranks=(0,)), Watched(silent_ranks=(1,))) == (503, "rank silent")
