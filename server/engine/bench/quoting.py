"""Replies that quote their prompt, from a model whose weights are random: its work is done, its words are replaced."""

from __future__ import annotations

import random

from torch import Tensor

from server.engine.model.runner import Runner
from server.engine.schedule.sequence import CHAT
from server.engine.schedule.step import Segment, Step

_KEY_TOKENS = 4  # of a prompt, by which its reply is found
_QUOTED, _NEW = 24, 6  # tokens of a quotation, and of what stands between two of them
_CERTAIN = 1e4  # the logit of the token that is to be said


def quoting_reply(prompt: tuple[int, ...], num_tokens: int, chooser: random.Random) -> tuple[int, ...]:
    """Passages of the prompt with a few words of its own between them."""
    reply: list[int] = []
    while len(reply) < num_tokens:
        at = chooser.randrange(max(1, len(prompt) - _QUOTED))
        reply.extend(prompt[at : at + _QUOTED])
        reply.extend(chooser.choices(range(min(prompt), max(prompt) + 1), k=_NEW))
    return tuple(reply[:num_tokens])


class QuotingRunner:
    """A runner whose chat model says what `replies` has for a prompt, by the prompt's first tokens.

    It computes all that the runner within computes. Whoever drafts knows nothing of it.
    """

    def __init__(self, runner: Runner) -> None:
        self._runner = runner
        self._replies: dict[tuple[int, ...], tuple[int, tuple[int, ...]]] = {}
        self._reply_in: dict[int, tuple[int, tuple[int, ...]]] = {}  # by the first block of a running sequence

    def expect(self, prompt: tuple[int, ...], reply: tuple[int, ...]) -> None:
        """Say `reply` after `prompt`."""
        self._replies[prompt[:_KEY_TOKENS]] = len(prompt), reply

    def run(self, step: Step) -> dict[str, Tensor]:
        """As the runner within, with the logits of the expected tokens raised."""
        logits = self._runner.run(step)
        for each in step.model_steps:
            if each.model == CHAT:
                self._raise_expected(logits[CHAT], each.segments)
        return logits

    def _raise_expected(self, logits: Tensor, segments: tuple[Segment, ...]) -> None:
        row = 0
        for segment in segments:
            if segment.entry == 0 and segment.tokens[:_KEY_TOKENS] in self._replies:
                self._reply_in[segment.blocks[0]] = self._replies[segment.tokens[:_KEY_TOKENS]]
            first = segment.position + len(segment.tokens) - segment.num_logits + 1
            for position in range(first, first + segment.num_logits):
                self._raise_one(logits[row], segment.blocks[0], position)
                row += 1

    def _raise_one(self, logits: Tensor, block: int, position: int) -> None:
        num_prompt_tokens, reply = self._reply_in.get(block, (0, ()))
        if 0 <= position - num_prompt_tokens < len(reply):
            logits[reply[position - num_prompt_tokens]] = _CERTAIN
