"""A step and what rank 0 must remember of it until its results are there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from server.engine.schedule.sequence import GenerateSequence, ScoreSequence, TokenSequence
from server.engine.schedule.step import ModelStep, Segment, Step
from server.engine.schedule.token_tree import CONTEXT_ROW


@dataclass(frozen=True, slots=True)
class Advance:
    """A sequence that gets keys and values for `num_tokens` more tokens in this step."""

    sequence: TokenSequence
    num_tokens: int


@dataclass(frozen=True, slots=True)
class ReplyRows:
    """Rows of the chat model's logits: `first_row` is behind a reply's last token, the others behind drafted ones."""

    sequence: GenerateSequence
    first_row: int
    draft: tuple[int, ...] = ()

    @property
    def num_rows(self) -> int:
        """Rows of this reply."""
        return 1 + len(self.draft)


def verified(draft: Sequence[int], sampled: Sequence[int | None]) -> Sequence[int | None]:
    """Of the tokens sampled behind the last one and behind each drafted one, those that the reply goes on with.

    Each is sampled as if what stands before it were the reply, so all up to the first that was not drafted are right,
    whether they are the most probable ones or drawn: they are what one step a token would have sampled.
    """
    num_right = next((at for at, token in enumerate(draft) if token != sampled[at]), len(draft))
    return sampled[: num_right + 1]


@dataclass(frozen=True, slots=True)
class ScoreRows:
    """The log-probabilities one window needs: of `token_ids[i]` in row `rows[i]` of its model's logits."""

    sequence: ScoreSequence
    rows: tuple[int, ...]
    token_ids: tuple[int, ...]

    @property
    def model(self) -> str:
        """Whose logits `rows` counts in."""
        return self.sequence.model


@dataclass(frozen=True, slots=True)
class StepPlan:
    """What to run, and whose each row of logits is.

    Attributes:
        step: for every rank.
        reply_rows: the chat model's rows, in order.
        score_rows: windows whose last chunk is in the step.
        advances: every sequence in the step.
        started: monotonic seconds when it was planned.
    """

    step: Step
    reply_rows: tuple[ReplyRows, ...]
    score_rows: tuple[ScoreRows, ...]
    advances: tuple[Advance, ...]
    started: float


class StepBuilder:
    """A plan in the making: `room` tokens are left."""

    def __init__(self, max_step_tokens: int) -> None:
        self.room = max_step_tokens
        self._segments: dict[str, list[Segment]] = {}
        self._num_rows: dict[str, int] = {}
        self._reply_rows: list[ReplyRows] = []
        self._score_rows: list[ScoreRows] = []
        self._advances: list[Advance] = []

    def add_generate(self, sequence: GenerateSequence, num_tokens: int) -> None:
        """The next `num_tokens` of a prompt; with logits when they end the sequence."""
        is_last = sequence.num_computed_tokens + num_tokens == sequence.num_tokens
        if is_last:
            self._reply_rows.append(ReplyRows(sequence, self._num_rows.get(sequence.model, 0)))
        self._add_chunk(sequence, num_tokens, num_logits=int(is_last))

    def add_decode(self, sequence: GenerateSequence, draft: tuple[int, ...] = ()) -> None:
        """The last reply token, and what may follow it."""
        self._reply_rows.append(ReplyRows(sequence, self._num_rows.get(sequence.model, 0), draft))
        self._add_chunk(sequence, 1, num_logits=1 + len(draft), draft=draft)

    def add_score_chunk(self, sequence: ScoreSequence, num_tokens: int) -> None:
        """The next tokens of a window that does not end in this step."""
        self._add_chunk(sequence, num_tokens, num_logits=0)

    def add_score_end(self, sequence: ScoreSequence) -> None:
        """The rest of a window and the label tree behind it."""
        context_row = self._num_rows.get(sequence.model, 0)
        self._add_chunk(sequence, sequence.num_tokens - sequence.num_computed_tokens, num_logits=1)
        self._add_tree(sequence)
        first_row = context_row - CONTEXT_ROW  # the tree's rows follow the context's
        targets = sequence.tree.targets
        rows = tuple(first_row + source for source, _ in targets)
        self._score_rows.append(ScoreRows(sequence, rows, tuple(token for _, token in targets)))

    def finish(self, number: int, started: float) -> StepPlan | None:
        """The plan, models in the order of their first segment; None when there is nothing to do."""
        if not self._segments:
            return None
        model_steps = tuple(ModelStep(model, tuple(segments)) for model, segments in self._segments.items())
        return StepPlan(
            Step(number, model_steps),
            tuple(self._reply_rows),
            tuple(self._score_rows),
            advances=tuple(self._advances),
            started=started,
        )

    def _add_chunk(
        self, sequence: TokenSequence, num_tokens: int, *, num_logits: int, draft: tuple[int, ...] = ()
    ) -> None:
        start = sequence.num_computed_tokens
        tokens = (*sequence.tokens[start : start + num_tokens], *draft)
        segment = Segment.of(tokens, sequence.block_table, start, num_logits=num_logits)
        self._add(sequence.model, segment)
        self._advances.append(Advance(sequence, len(tokens)))

    def _add_tree(self, sequence: ScoreSequence) -> None:
        base = sequence.num_tokens
        for run in sequence.tree.runs:
            self._add(
                sequence.model,
                Segment(
                    run.tokens,
                    sequence.block_table,
                    position=base + run.depth - 1,
                    entry=base + run.first,
                    num_context=base,
                    ancestors=tuple(base + flat for flat in run.ancestors),
                    num_logits=len(run.tokens),
                ),
            )

    def _add(self, model: str, segment: Segment) -> None:
        self._segments.setdefault(model, []).append(segment)
        self._num_rows[model] = self._num_rows.get(model, 0) + segment.num_logits
        self.room -= len(segment.tokens)
        assert self.room >= 0, self.room
