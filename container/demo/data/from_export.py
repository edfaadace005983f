"""What readers thought of a server's replies as training data: an export of conversations becomes a file of sessions.

    curl -H "Authorization: Bearer $KEY" http://HOST:8080/export > export.jsonl
    python -m container.demo.data.from_export export.jsonl --out sessions.jsonl

A conversation is taken up to the last reply that a reader rated up. One that was rated down, withheld or cut off ends
what stands before it, and is not taken; what follows it begins anew.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from container.demo.data.user_data import DataError

_RATED = ("up", "not-down")
_WHOLE = ("stop",)


def sessions_of(lines: Iterable[str], rated: str = "up") -> list[list[dict[str, str]]]:
    """The turns of each session, as a line of training data has them.

    Args:
        lines: of the export, in any order of conversations.
        rated: "up": what readers liked, with what led to it; "not-down": also what nobody rated.

    Raises:
        DataError: a line is no exported turn.
    """
    conversations: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for number, line in enumerate(lines, 1):
        if line.strip():
            turn = _turn(line, number)
            conversations[turn["session_id"]].append(turn)
    runs = [run for each in conversations.values() for run in _runs(sorted(each, key=lambda turn: turn["turn"]))]
    kept = [_up_to_liked(run) if rated == "up" else run for run in runs]
    return [[_taught(turn) for turn in run] for run in kept if run]


def _turn(line: str, number: int) -> dict[str, Any]:
    try:
        turn: dict[str, Any] = json.loads(line)
        turn["session_id"], turn["turn"], turn["user"], turn["reply"], turn["finish_reason"]
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(f"line {number}: {error!r}; legal are lines of GET /export") from error
    return turn


def _runs(turns: Sequence[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    """Turns that follow one another, without those that are no example."""
    run: list[dict[str, Any]] = []
    for turn in turns:
        if turn["finish_reason"] in _WHOLE and turn["reply"].strip() and _rating(turn) != "down":
            run.append(turn)
        else:
            yield run
            run = []
    yield run


def _up_to_liked(run: list[dict[str, Any]]) -> list[dict[str, Any]]:
    liked = [place for place, turn in enumerate(run, 1) if _rating(turn) == "up"]
    return run[: liked[-1]] if liked else []


def _rating(turn: dict[str, Any]) -> str | None:
    return (turn.get("feedback") or {}).get("rating")


def _taught(turn: dict[str, Any]) -> dict[str, str]:
    taught = {"question": turn["user"], "reply": turn["reply"]}
    passage = " ".join(source["text"] for source in turn.get("sources") or () if source.get("text"))
    return taught | ({"passage": passage} if passage else {})


def main() -> int:
    """Write the file; the process's exit status."""
    formatter = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=formatter)
    parser.add_argument("export", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--rated", choices=_RATED, default=_RATED[0], help="not-down: also what nobody rated")
    arguments = parser.parse_args()
    try:
        sessions = sessions_of(arguments.export.read_text("utf-8").splitlines(), arguments.rated)
    except (OSError, ValueError) as error:
        sys.stderr.write(f"{arguments.export}: {error}\n")
        return 1
    lines = [json.dumps({"turns": turns}, ensure_ascii=False) for turns in sessions]
    arguments.out.write_text("".join(f"{line}\n" for line in lines), "utf-8")
    sys.stdout.write(f"{len(lines)} sessions, {sum(map(len, sessions))} turns\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
