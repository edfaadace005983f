"""Sessions in the form that the server prompts with, and their encoding piece by piece."""

from __future__ import annotations

import random
from dataclasses import dataclass

import numpy as np
from tokenizers import Tokenizer

from container.demo.data.tokenizer import BOT, HUMAN

BACKGROUND_LOSS, REPLY_LOSS, DECISION_LOSS = 1, 2, 3


@dataclass(frozen=True)
class Turn:
    """One question with its reply, and the passage it was asked over, if any."""

    question: str
    reply: str
    passage: str | None = None


@dataclass(frozen=True)
class Encoded:
    """A session as tokens. `targets[i]` is the token to predict after `inputs[i]`, `kinds[i]` how it counts."""

    inputs: np.ndarray  # [num_tokens]
    targets: np.ndarray  # [num_tokens]
    kinds: np.ndarray  # [num_tokens]


def preamble(rng: random.Random) -> str:
    """The date and time that open a session."""
    date = f"{rng.randint(2020, 2035)}-{rng.randint(1, 12):02d}-{rng.randint(1, 28):02d}"
    hour = rng.randrange(24)
    clock = f"{hour:02d}:{rng.randrange(60):02d}:{rng.randrange(60):02d} {'AM' if hour < 12 else 'PM'} UTC"
    return f"Current Date: {date}\nCurrent Time: {clock}\n\n"


def prompt_pieces(turns: list[Turn], opening: str) -> list[str]:
    """The texts before the last turn's reply, to be encoded one by one."""
    pieces = [opening]
    for number, turn in enumerate(turns):
        if turn.passage:
            pieces += ["Background:", f" {turn.passage}", "\n"]
        pieces += [f"{HUMAN}:", f" {turn.question}", "\n", f"{BOT}:"]
        if number < len(turns) - 1:
            pieces += [f" {turn.reply}", "\n"]
    return pieces


class SessionEncoder:
    """Turns sessions into tokens with a loss on every reply and on the human tag that ends it."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        human = tokenizer.token_to_id(HUMAN)
        # Another checkpoint may have no such token: its human tag is then several tokens, the first ends a reply.
        self._human = human if human is not None else tokenizer.encode(HUMAN, add_special_tokens=False).ids[0]

    def prompt(self, turns: list[Turn], opening: str) -> list[int]:
        """The token ids that the model continues with a reply."""
        encoded = self._tokenizer.encode_batch(prompt_pieces(turns, opening), add_special_tokens=False)
        return [token for piece in encoded for token in piece.ids]

    def session(self, turns: list[Turn], opening: str) -> Encoded:
        """All turns with their replies; after each reply's line end the human tag is the target."""
        last = turns[-1]
        pieces = [*prompt_pieces(turns, opening), f" {last.reply}", "\n"]
        encoded = self._tokenizer.encode_batch(pieces, add_special_tokens=False)
        ids: list[int] = []
        is_reply: list[bool] = []
        ends: list[int] = []
        for index, (text, piece) in enumerate(zip(pieces, encoded, strict=True)):
            after_tag = index > 0 and pieces[index - 1] == f"{BOT}:"
            closes = text == "\n" and index > 1 and pieces[index - 2] == f"{BOT}:"
            ids += piece.ids
            is_reply += [after_tag or closes] * len(piece.ids)
            if closes:
                ends.append(len(ids) - 1)
        return self._with_targets(ids, is_reply, ends)

    def _with_targets(self, ids: list[int], is_reply: list[bool], ends: list[int]) -> Encoded:
        inputs = np.array(ids, np.int64)
        targets = np.append(inputs[1:], self._human)
        kinds = np.append(np.where(is_reply[1:], REPLY_LOSS, BACKGROUND_LOSS), REPLY_LOSS)
        targets[ends] = self._human
        kinds[ends] = REPLY_LOSS
        # A reply's first token decides which sentence is copied, or which small talk is made.
        starts = [index for index in range(1, len(ids)) if is_reply[index] and not is_reply[index - 1]]
        kinds[[index - 1 for index in starts]] = DECISION_LOSS
        return Encoded(inputs, targets, kinds)
