"""One step: a forward pass of every model with work, over a planned set of segments."""

from __future__ import annotations

import msgspec


def pending_token(row: int) -> int:
    """What stands for a token that is not known yet: the one that the step before samples from row `row` of its logits.

    Its own inverse: `pending_token(pending_token(row)) == row`.
    """
    return -1 - row


class Segment(msgspec.Struct, frozen=True, array_like=True):
    """A run of tokens of one sequence whose keys and values are computed in this step.

    `blocks` is the sequence's block table; entry e of the sequence lives in slot
    `blocks[e // block_tokens] * block_tokens + e % block_tokens`. Token i of the run is written to entry `entry + i`,
    has rotary position `position + i`, and sees entries [0, num_context), `ancestors`, and [entry, entry + i].
    Outside label trees `num_context == entry == position` and there are no ancestors. A negative token is a
    `pending_token`: the step was planned before the results of the one before it were there.
    """

    tokens: tuple[int, ...]
    blocks: tuple[int, ...]
    position: int
    entry: int
    num_context: int
    ancestors: tuple[int, ...] = ()
    num_logits: int = 0  # how many of the last tokens need logits: 0, 1 (sampling) or more (label trees)

    @classmethod
    def of(cls, tokens: tuple[int, ...], blocks: tuple[int, ...], start: int, num_logits: int) -> Segment:
        """`tokens` of a plain sequence behind its first `start`."""
        return cls(tokens, blocks, position=start, entry=start, num_context=start, num_logits=num_logits)


class ModelStep(msgspec.Struct, frozen=True, array_like=True):
    """The segments of one model; all of them go through it in one packed forward pass."""

    model: str
    segments: tuple[Segment, ...]


class Step(msgspec.Struct, frozen=True, array_like=True):
    """What rank 0 tells every rank to run next. No model steps: stop."""

    number: int
    model_steps: tuple[ModelStep, ...]

    @property
    def num_tokens(self) -> int:
        """New tokens of all models."""
        return sum(len(segment.tokens) for model in self.model_steps for segment in model.segments)
