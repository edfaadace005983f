"""Training data of one's own: JSON Lines files of sessions or of labelled texts, checked line by line.

A session line is {"question": ..., "reply": ..., "passage"?: ...} or {"turns": [such objects, ...]};
a labelled text is {"text": ..., "label": ...}.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

from container.demo.data.moderation_data import Labelled
from container.demo.data.sessions import Turn

_TURN_KEYS = ("question", "reply", "passage")
_Parsed = TypeVar("_Parsed")


class DataError(ValueError):
    """A training file that cannot be used; the sentence names the file, the line, what was found and what is legal."""


class FileSessions:
    """Draws sessions of a file in random order."""

    def __init__(self, sessions: Sequence[list[Turn]], rng: random.Random) -> None:
        self._sessions = sessions
        self._rng = rng

    def session(self) -> list[Turn]:
        """One of the file's sessions."""
        return self._rng.choice(self._sessions)


class FileTexts:
    """Draws labelled texts of a file in random order."""

    def __init__(self, texts: Sequence[Labelled], rng: random.Random) -> None:
        self._texts = texts
        self._rng = rng

    def text(self) -> Labelled:
        """One of the file's texts."""
        return self._rng.choice(self._texts)


def read_sessions(path: Path) -> list[list[Turn]]:
    """The sessions of a file.

    Raises:
        DataError: the file cannot be read, is empty, or a line is not a session.
    """
    return _read_lines(path, _session)


def read_texts(path: Path, labels: tuple[str, ...]) -> list[Labelled]:
    """The labelled texts of a file.

    Raises:
        DataError: the file cannot be read, is empty, or a line is not a text with one of `labels`.
    """

    def parse(row: dict[str, Any]) -> Labelled:
        _check_keys(row, ("text", "label"))
        if row.get("label") not in labels:
            raise DataError(f"label is {_shown(row.get('label'))}, legal are {', '.join(labels)}")
        return Labelled(_text(row, "text"), row["label"], "file")

    return _read_lines(path, parse)


def _read_lines(path: Path, parse: Callable[[dict[str, Any]], _Parsed]) -> list[_Parsed]:
    try:
        lines = path.read_text("utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: {error}") from error
    found = [_parse_line(path, number, line, parse=parse) for number, line in enumerate(lines, 1) if line.strip()]
    if not found:
        raise DataError(f"{path}: no lines; at least one JSON object is needed")
    return found


def _parse_line(path: Path, number: int, line: str, parse: Callable[[dict[str, Any]], _Parsed]) -> _Parsed:
    try:
        row = json.loads(line)
    except (json.JSONDecodeError, RecursionError) as error:
        raise DataError(f"{path}:{number}: not JSON ({error})") from error
    try:
        if not isinstance(row, dict):
            raise DataError(f"the line is {_shown(row)}, an object is needed")
        return parse(row)
    except DataError as error:
        raise DataError(f"{path}:{number}: {error}") from error


def _session(row: dict[str, Any]) -> list[Turn]:
    if "turns" not in row:
        return [_turn(row)]
    _check_keys(row, ("turns",))
    turns = row["turns"]
    if not isinstance(turns, list) or not turns or not all(isinstance(turn, dict) for turn in turns):
        raise DataError(f"turns is {_shown(turns)}, a list of at least one object is needed")
    return [_turn(turn) for turn in turns]


def _turn(row: dict[str, Any]) -> Turn:
    _check_keys(row, _TURN_KEYS)
    passage = _text(row, "passage") if row.get("passage") is not None else None
    return Turn(_text(row, "question"), _text(row, "reply"), passage)


def _check_keys(row: dict[str, Any], legal: tuple[str, ...]) -> None:
    for key in row:
        if key not in legal:
            raise DataError(f"unknown key {key!r}, legal are {', '.join(legal)}")


def _text(row: dict[str, Any], key: str) -> str:
    """The value with every run of white space as one space: a line break would end a turn early."""
    value = row.get(key)
    if not isinstance(value, str) or not value.strip():
        raise DataError(f"{key} is {_shown(value)}, a text that is not empty is needed")
    return " ".join(value.split())


def _shown(value: object) -> str:
    shown = json.dumps(value)
    return shown if len(shown) <= 60 else f"{shown[:57]}..."
