"""JSON Lines files of one's own."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from container.demo.data.moderation_data import Labelled
from container.demo.data.sessions import Turn
from container.demo.data.user_data import DataError, read_sessions, read_texts

LABELS = ("casual", "needs caution")


def written(folder: Path, *lines: str) -> Path:
    path = folder / "mine.jsonl"
    path.write_text("\n".join(lines), "utf-8")
    return path


def test_a_line_is_one_turn_or_several(tmp_path: Path) -> None:
    first = {"question": "What is it?", "reply": "A town.", "passage": "It is\na town."}
    second = {"turns": [{"question": "Hi", "reply": "Hello!"}, first]}
    sessions = read_sessions(written(tmp_path, json.dumps(first), "", json.dumps(second)))
    turn = Turn("What is it?", "A town.", "It is a town.")
    assert sessions == [[turn], [Turn("Hi", "Hello!"), turn]]


def test_labelled_texts_are_read(tmp_path: Path) -> None:
    path = written(tmp_path, '{"text": "Good morning", "label": "casual"}')
    assert read_texts(path, LABELS) == [Labelled("Good morning", "casual", "file")]


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ('{"question": "Hi"}', "reply is null, a text that is not empty is needed"),
        ('{"question": "Hi", "reply": " "}', 'reply is " ", a text that is not empty is needed'),
        ('{"question": 3, "reply": "x"}', "question is 3, a text that is not empty is needed"),
        (
            '{"question": "Hi", "reply": "x", "answer": "y"}',
            "unknown key 'answer', legal are question, reply, passage",
        ),
        ('{"turns": []}', "turns is [], a list of at least one object is needed"),
        ('{"turns": ["Hi"]}', 'turns is ["Hi"], a list of at least one object is needed'),
        ('["Hi"]', 'the line is ["Hi"], an object is needed'),
        ("Hi", "not JSON (Expecting value: line 1 column 1 (char 0))"),
    ],
)
def test_a_bad_session_line_is_named_with_what_is_legal(line: str, complaint: str, tmp_path: Path) -> None:
    path = written(tmp_path, '{"question": "Hi", "reply": "Hello!"}', line)
    with pytest.raises(DataError) as raised:
        read_sessions(path)
    assert str(raised.value) == f"{path}:2: {complaint}"


def test_an_unknown_label_is_named_with_the_legal_ones(tmp_path: Path) -> None:
    path = written(tmp_path, '{"text": "Hi", "label": "rude"}')
    with pytest.raises(DataError) as raised:
        read_texts(path, LABELS)
    assert str(raised.value) == f'{path}:1: label is "rude", legal are casual, needs caution'


def test_an_empty_file_and_a_missing_one_are_reported(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no lines; at least one JSON object is needed"):
        read_sessions(written(tmp_path, ""))
    with pytest.raises(DataError, match="No such file"):
        read_sessions(tmp_path / "absent.jsonl")
