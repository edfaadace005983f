"""deploy bench against an imitation of the container over real HTTP."""

from __future__ import annotations

import json

import pytest

from deploy.__main__ import main
from tests.unit.deploy.container_double import Container, ContainerHandler, answered, refused, serving


def test_each_number_of_clients_has_its_figures_and_their_ratios(capsys: pytest.CaptureFixture[str]) -> None:
    ours, theirs = Container(), Container()
    for container in (ours, theirs):
        container.answers.extend(answered("The Nile.") for _ in range(24))
    with serving(ContainerHandler, ours) as url, serving(ContainerHandler, theirs) as rival:
        flags = ["--url", url, "--against", rival, "--clients", "1,3", "--turns", "4", "--rounds", "2"]
        assert main(["bench", *flags]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [row["clients"] for row in found["results"]] == [1, 3]
    for ours_row, rival_row, ratio in zip(found["results"], found["against"], found["ratios"], strict=True):
        assert ours_row["turns"] == rival_row["turns"] == 8  # the round that warms up does not count
        assert 0 < ours_row["whole_ms_p50"] <= ours_row["whole_ms_p95"]
        assert ratio["whole_ms_p50"] == ours_row["whole_ms_p50"] / rival_row["whole_ms_p50"]
    assert {"machine", "versions", "command"} <= found.keys()
    assert not ours.answers
    assert not theirs.answers


def test_a_conversation_stays_in_its_session(capsys: pytest.CaptureFixture[str]) -> None:
    container = Container()
    container.answers.extend(answered("The Nile.") for _ in range(3))
    with serving(ContainerHandler, container) as url:
        assert main(["bench", "--url", url, "--conversation", "3"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["turns"] == 3
    assert found["finish_reasons"] == {"stop": 3}
    sessions = [body["parameters"].get("session_id") for body in container.asked]
    assert sessions == [None, "s-1", "s-1"]


def test_a_refused_turn_ends_the_run_with_its_reason(capsys: pytest.CaptureFixture[str]) -> None:
    container = Container()
    container.answers.append(refused(400, "invalid_field"))
    with serving(ContainerHandler, container) as url:
        assert main(["bench", "--url", url, "--clients", "1", "--turns", "1", "--rounds", "1"]) == 1
    assert "a turn failed" in capsys.readouterr().err


@pytest.mark.parametrize("clients", ["", "0", "1,x", "-2"])
def test_a_wrong_number_of_clients_is_refused(clients: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["bench", "--url", "http://127.0.0.1:9", f"--clients={clients}"])
    assert "numbers from 1" in capsys.readouterr().err
