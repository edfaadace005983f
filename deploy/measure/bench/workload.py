"""What is asked: conversations of one kind, the same for the same seed."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from deploy.errors import DeployError
from deploy.measure.turn_load import PROMPTS

KINDS = ("chat", "rag", "multi-turn", "prefill", "decode")
_FACTS = tuple(prompt for prompt in PROMPTS if prompt.startswith(("Who", "What", "Tell", "How is")))
_WORDS = [
    "river",
    "stone",
    "light",
    "winter",
    "garden",
    "market",
    "letter",
    "bridge",
    "window",
    "mountain",
    "music",
    "harbour",
    "engine",
    "paper",
    "silver",
    "forest",
    "teacher",
    "morning",
    "castle",
    "island",
    "needle",
    "thunder",
    "village",
    "captain",
    "mirror",
    "summer",
    "library",
    "journey",
]
_TURNS = 4  # of a conversation of several turns
_PREFILL_WORDS = 700
_PREFILL_TOKENS, _DECODE_TOKENS = 8, 256


@dataclass(frozen=True)
class Conversation:
    """Questions asked one after the other, each with all that was said before it.

    Attributes:
        fields: of the request's body beside its messages.
    """

    questions: tuple[str, ...]
    fields: dict[str, Any] = field(default_factory=dict)


def conversations(kind: str, seed: int) -> Iterator[Conversation]:
    """Without end. `kind` is one of KINDS, or a file of JSON lines with "messages" or "prompt".

    Raises:
        DeployError: the file cannot be read.
    """
    rng = random.Random(seed)
    if kind not in KINDS:
        yield from _from_file(Path(kind), rng)
    while True:
        yield _made(kind, rng)


def _made(kind: str, rng: random.Random) -> Conversation:
    if kind == "rag":
        return Conversation((rng.choice(_FACTS),))
    if kind == "multi-turn":
        return Conversation(tuple(rng.sample(PROMPTS, _TURNS)))
    if kind == "prefill":
        text = " ".join(rng.choices(_WORDS, k=_PREFILL_WORDS))
        return Conversation((f"{text}. What is this about?",), {"max_tokens": _PREFILL_TOKENS})
    if kind == "decode":
        return Conversation((f"Tell me a long story about a {rng.choice(_WORDS)}.",), {
            "max_tokens": _DECODE_TOKENS, "ignore_eos": True,
        })  # fmt: skip
    return Conversation((rng.choice(PROMPTS),))


def _from_file(path: Path, rng: random.Random) -> Iterator[Conversation]:
    try:
        lines = [json.loads(line) for line in path.read_text("utf-8").splitlines() if line.strip()]
        kept = [_read(line) for line in lines]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DeployError(
            f"--workload {path}: legal are {', '.join(KINDS)} and a file of JSON lines with messages or prompt: {error}"
        ) from error
    if not kept:
        raise DeployError(f"--workload {path}: the file holds no line")
    while True:
        yield from rng.sample(kept, len(kept))


def _read(line: dict[str, Any]) -> Conversation:
    given = dict(line)
    if "prompt" in given:
        return Conversation((given.pop("prompt"),), given)
    messages = given.pop("messages")
    return Conversation(tuple(each["content"] for each in messages if each["role"] == "user"), given)
