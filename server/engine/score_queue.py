"""Windows to classify: those begun, those that wait, and what each does in the next step."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping

from server.engine.model_blocks import ModelBlocks
from server.engine.plan import PlanDraft
from server.engine.sequence import ScoreSequence


class ScoreQueue:
    """First come, first served within a model, oldest first between models.

    A window takes all its blocks, those of its label tree included, before it begins, so one that has begun always
    ends and nothing is ever preempted.
    """

    def __init__(self, blocks: Mapping[str, ModelBlocks]) -> None:
        self.running: list[ScoreSequence] = []
        self.num_waiting_tokens = 0
        self._blocks = blocks
        self._waiting: dict[str, deque[ScoreSequence]] = {model: deque() for model in blocks}

    @property
    def waiting(self) -> list[ScoreSequence]:
        """Windows that have not begun, model by model."""
        return [sequence for queue in self._waiting.values() for sequence in queue]

    @property
    def num_waiting(self) -> int:
        """How many have not begun."""
        return sum(len(queue) for queue in self._waiting.values())

    def add(self, sequence: ScoreSequence) -> None:
        """Wait behind the others."""
        self._waiting[sequence.model].append(sequence)
        self.num_waiting_tokens += sequence.num_own_tokens

    def remove(self, sequence: ScoreSequence) -> None:
        """Forget a window wherever it is and take its blocks back."""
        if sequence in self.running:
            self.running.remove(sequence)
            self._blocks[sequence.model].release(sequence)
        else:
            self._waiting[sequence.model].remove(sequence)
            self.num_waiting_tokens -= sequence.num_own_tokens

    def plan(self, draft: PlanDraft, max_tokens: int) -> None:
        """At most `max_tokens` tokens of windows, those begun first."""
        floor = draft.room - min(max_tokens, draft.room)
        for sequence in self.running:
            self._plan_next(sequence, draft, draft.room - floor)
        full: set[str] = set()
        while draft.room > floor and (head := self._oldest(full)):
            if not self._admit(head):
                full.add(head.model)
                continue
            self._waiting[head.model].popleft()
            self.num_waiting_tokens -= head.num_own_tokens
            self.running.append(head)
            self._plan_next(head, draft, draft.room - floor)

    def _plan_next(self, sequence: ScoreSequence, draft: PlanDraft, room: int) -> None:
        """The rest with its tree if it fits; else as much text as leaves at least a token to end with."""
        num_missing = sequence.num_tokens - sequence.num_computed_tokens
        if num_missing + sequence.tree.num_tokens <= room:
            draft.add_score_end(sequence)
        elif min(num_missing - 1, room) > 0:
            draft.add_score_chunk(sequence, min(num_missing - 1, room))

    def _oldest(self, full: set[str]) -> ScoreSequence | None:
        """The next to begin among models that still have room; None when there is none."""
        heads = [queue[0] for model, queue in self._waiting.items() if queue and model not in full]
        return min(heads, key=lambda sequence: sequence.request.arrival, default=None)

    def _admit(self, sequence: ScoreSequence) -> bool:
        blocks = self._blocks[sequence.model]
        if blocks.admit(sequence, sequence.num_entries):
            return True
        if any(other.model == sequence.model for other in self.running):
            return False
        blocks.unpin_all()
        admitted = blocks.admit(sequence, sequence.num_entries)
        assert admitted, (
            f"{sequence.num_entries} entries were let in that a pool of {blocks.pool.num_tokens} cannot hold"
        )
        return admitted
