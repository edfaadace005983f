"""Texts whose right verdict is known, and the server's verdicts on them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deploy.client.chat_error import ChatError
from deploy.client.retry import RetryPolicy, post_with_retries
from deploy.client.transport import Transport
from deploy.errors import DeployError

_PATIENCE = RetryPolicy()
TEXTS_A_REQUEST = 32


@dataclass(frozen=True)
class Case:
    """A text, its right label where one is given, and whether it ought to be blocked.

    Attributes:
        kind: what sort of text it is, as the file says.
        variant: what was made of it; empty for a text as the file has it.
    """

    text: str
    label: str | None
    is_bad: bool
    kind: str = ""
    variant: str = ""

    @property
    def group(self) -> str:
        """What it is counted with."""
        return self.variant or self.kind or ("bad" if self.is_bad else "harmless")


@dataclass(frozen=True)
class Judged:
    """A case with the server's verdict."""

    case: Case
    label: str
    scores: dict[str, float]
    blocked: bool


def read_cases(path: Path, bad_labels: Sequence[str]) -> list[Case]:
    """The cases of a file of JSON lines, {"text", "label"} or {"text", "blocked"} each, with a "kind" if you like.

    Raises:
        DeployError: no such file, or a line that is neither; the sentence has its number.
    """
    try:
        lines = path.read_text(encoding="utf-8").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise DeployError(f"{path}: {error}") from error
    cases = [_case(f"{path}:{number}", line, bad_labels) for number, line in enumerate(lines, 1) if line.strip()]
    if not cases:
        raise DeployError(f"{path}: there is no case in it")
    return cases


def judge(
    transport: Transport,
    cases: Sequence[Case],
    role: str,
    policy: RetryPolicy = _PATIENCE,
) -> list[Judged]:
    """The verdicts of POST /v1/moderations on `cases`, in order.

    Raises:
        DeployError: the server refused, or answered something else.
    """
    judged = []
    for start in range(0, len(cases), TEXTS_A_REQUEST):
        batch = cases[start : start + TEXTS_A_REQUEST]
        body = json.dumps({"input": [case.text for case in batch], "role": role}).encode()
        try:
            answer = json.loads(post_with_retries(transport, body, policy))
            judged += [_judged(case, result) for case, result in zip(batch, answer["results"], strict=True)]
        except ChatError as error:
            raise DeployError(f"POST /v1/moderations: {error}") from error
        except (ValueError, KeyError, TypeError) as error:
            raise DeployError(f"POST /v1/moderations gave no verdicts of this server: {error}") from error
    return judged


def _case(where: str, line: str, bad_labels: Sequence[str]) -> Case:
    try:
        given = json.loads(line)
        text, label, blocked = given["text"], given.get("label"), given.get("blocked")
        kind = str(given.get("kind", ""))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise DeployError(
            f'{where}: expected {{"text", "label"}} or {{"text", "blocked"}}, found {line[:80]!r}'
        ) from error
    if not isinstance(text, str) or not text:
        raise DeployError(f"{where}: text={text!r}: a non-empty string is needed")
    if label is None and not isinstance(blocked, bool):
        raise DeployError(f"{where}: blocked={blocked!r}: without a label, true or false is needed")
    return Case(text, label, blocked if isinstance(blocked, bool) else label in bad_labels, kind=kind)


def _judged(case: Case, result: dict[str, Any]) -> Judged:
    return Judged(case, result["label"], result["category_scores"], blocked=bool(result["flagged"]))
