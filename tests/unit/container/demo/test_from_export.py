"""What readers thought of replies becomes training data."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from container.demo.data.from_export import main, sessions_of
from container.demo.data.sessions import Turn
from container.demo.data.user_data import DataError, read_sessions
from server.web.app import create_app
from tests.unit.web.keys.made_keys import MadeKeys


def exported(number: int, rating: str | None = None, session_id: str = "s", **more: Any) -> str:
    turn = {"session_id": session_id, "turn": number, "user": f"Q{number}", "reply": f"A{number}"}
    feedback = None if rating is None else {"rating": rating, "text": ""}
    return json.dumps({**turn, "finish_reason": "stop", "sources": [], "feedback": feedback, **more})


def questions(lines: list[str], rated: str = "up") -> list[list[str]]:
    return [[turn["question"] for turn in session] for session in sessions_of(lines, rated)]


def test_a_conversation_is_taken_up_to_the_last_reply_that_was_liked() -> None:
    lines = [exported(1), exported(2, "up"), exported(3), exported(4, "up"), exported(5)]
    assert questions(lines) == [["Q1", "Q2", "Q3", "Q4"]]
    assert questions([exported(1), exported(2)]) == []


@pytest.mark.parametrize(
    "bad",
    [
        exported(3, "down"),
        exported(3, finish_reason="moderated_output"),
        exported(3, finish_reason="length"),
        exported(3, reply=" "),
    ],
)
def test_what_is_no_example_parts_what_stands_around_it(bad: str) -> None:
    lines = [exported(1), exported(2, "up"), bad, exported(4, "up")]
    assert questions(lines) == [["Q1", "Q2"], ["Q4"]]
    assert questions([exported(1), exported(2), bad, exported(4)], "not-down") == [["Q1", "Q2"], ["Q4"]]


def test_conversations_that_are_exported_in_any_order_stay_apart() -> None:
    lines = [exported(2, "up", "a"), exported(1, "up", "b"), exported(1, None, "a")]
    assert questions(lines) == [["Q1", "Q2"], ["Q1"]]


@pytest.mark.parametrize("line", ["{", "[]", '{"error": {}}', '{"session_id": "s"}'])
def test_a_line_that_is_no_turn_is_named(line: str) -> None:
    with pytest.raises(DataError, match="line 2: "):
        sessions_of([exported(1), line])


def test_what_a_server_exports_can_be_trained_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    keys = MadeKeys(tmp_path)
    keys.add("alice")
    client, headers = create_app(keys.fakes().services).test_client(), keys.headers("alice")
    for question in ("What is\nit?", "And why?"):
        client.post("/invocations", json={"inputs": question, "parameters": {"session_id": "s"}}, headers=headers)
    client.post("/sessions/s/turns/2/feedback", json={"rating": "up"}, headers=headers)
    export, out = tmp_path / "export.jsonl", tmp_path / "sessions.jsonl"
    export.write_bytes(client.get("/export", headers=headers).data)
    monkeypatch.setattr(sys, "argv", ["from_export", str(export), "--out", str(out)])
    assert main() == 0
    assert capsys.readouterr().out == "1 sessions, 2 turns\n"
    turns = [Turn("What is it?", "You said: What is it?"), Turn("And why?", "You said: And why?")]
    assert read_sessions(out) == [turns]
