"""Questions with known answers, asked of a running server one by one: how many replies hold the answer.

`python -m container.demo.evaluate.questions --url http://127.0.0.1:8080 FILE` prints the figures as JSON; with --show
every reply, too. A line of FILE is {"question": ..., "answers": [...]}; each is asked in a conversation of its own.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import urllib3

_TIMEOUT_S = 300


@dataclass(frozen=True)
class Asked:
    """One question and what came back."""

    question: str
    answers: tuple[str, ...]
    reply: str
    passages: tuple[str, ...]
    ended: bool
    seconds: float

    def holds(self, text: str) -> bool:
        """Whether any of the answers stands in `text`; case does not count."""
        return any(answer.lower() in text.lower() for answer in self.answers)


def ask(url: str, line: dict[str, Any], parameters: dict[str, Any]) -> Asked:
    """Put one question to the server at `url`."""
    body = {"inputs": line["question"], "parameters": parameters}
    started = time.monotonic()
    try:
        response = urllib3.request("POST", f"{url}/invocations", json=body, timeout=_TIMEOUT_S)
    except urllib3.exceptions.HTTPError as error:
        raise SystemExit(f"--url={url}: nothing answers there; start a server, as `make run` does") from error
    answer = response.json()
    if response.status != 200:
        raise SystemExit(f"{url}: {response.status} {answer}")
    passages = tuple(source["text"] for source in answer["sources"])
    ended = answer["finish_reason"] == "stop"
    seconds = time.monotonic() - started
    return Asked(
        line["question"], tuple(line["answers"]), answer["outputs"], passages=passages, ended=ended, seconds=seconds
    )


def figures(asked: list[Asked]) -> dict[str, float]:
    """Counts and shares over all questions."""
    count = len(asked)
    return {
        "questions": count,
        "replies_with_answer": sum(each.holds(each.reply) for each in asked),
        "replies_with_answer_share": sum(each.holds(each.reply) for each in asked) / count,
        "passages_with_answer_share": sum(each.holds(" ".join(each.passages)) for each in asked) / count,
        "ended_share": sum(each.ended for each in asked) / count,
        "seconds_each": sum(each.seconds for each in asked) / count,
    }


def main(arguments: argparse.Namespace) -> int:
    """Ask, and print."""
    lines = [json.loads(line) for line in arguments.questions.read_text("utf-8").splitlines() if line.strip()]
    asked = []
    for line in lines[:: arguments.every]:
        asked.append(ask(arguments.url.rstrip("/"), line, json.loads(arguments.parameters)))
        if arguments.show:
            print(json.dumps({"question": asked[-1].question, "reply": asked[-1].reply}), file=sys.stderr)
    print(json.dumps(figures(asked)))
    return 0


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("questions", type=Path)
    parser.add_argument("--url", default="http://127.0.0.1:8080")
    parser.add_argument("--parameters", default='{"do_sample": false}', help="of each request, as JSON")
    parser.add_argument("--every", type=int, default=1, help="ask only every n-th question")
    parser.add_argument("--show", action="store_true", help="print every reply")
    sys.exit(main(parser.parse_args()))
