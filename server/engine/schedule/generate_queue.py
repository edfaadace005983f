"""Replies: those that run, those that wait, and what each does in the next step."""

from __future__ import annotations

from collections import deque

from server.engine.schedule.model_blocks import ModelBlocks
from server.engine.schedule.sequence import GenerateSequence
from server.engine.schedule.step_plan import StepBuilder


class GenerateQueue:
    """First come, first served: `running` then `waiting` is the order of arrival, preempted sequences included."""

    def __init__(self, blocks: ModelBlocks, max_running: int) -> None:
        self.running: list[GenerateSequence] = []
        self.waiting: deque[GenerateSequence] = deque()
        self.num_waiting_tokens = 0
        self.num_preemptions = 0
        self._blocks = blocks
        self._max_running = max_running

    @property
    def num_open_places(self) -> int:
        """Sequences that could run beside the running ones."""
        return self._max_running - len(self.running)

    @property
    def has_prompts(self) -> bool:
        """Whether there is a prompt to prefill in the next step, running or next to be admitted."""
        return self._can_admit() or any(_num_missing_tokens(sequence) > 1 for sequence in reversed(self.running))

    def add(self, sequence: GenerateSequence) -> None:
        """Wait behind the others."""
        self.waiting.append(sequence)
        self.num_waiting_tokens += sequence.num_tokens

    def remove(self, sequence: GenerateSequence) -> None:
        """Forget a sequence wherever it is and take its blocks back."""
        if sequence in self.running:
            self.running.remove(sequence)
            self._blocks.release(sequence)
        else:
            self.waiting.remove(sequence)
            self.num_waiting_tokens -= sequence.num_tokens

    def plan_decodes(self, builder: StepBuilder) -> None:
        """One token for every sequence that is past its prompt, the oldest first; the newest give blocks to them."""
        for sequence in tuple(self.running):
            if _can_decode(sequence) and self._make_room(sequence):
                builder.add_generate(sequence, 1)

    def plan_prefills(self, builder: StepBuilder) -> None:
        """Prompts with what room is left, the oldest first, admitting as many as fit."""
        for sequence in self.running:
            if builder.room and _num_missing_tokens(sequence) > 1:
                builder.add_generate(sequence, min(_num_missing_tokens(sequence), builder.room))
        while builder.room and self._can_admit():
            sequence = self.waiting.popleft()
            self.num_waiting_tokens -= sequence.num_tokens
            self._blocks.admit(sequence, sequence.num_tokens)
            self.running.append(sequence)
            builder.add_generate(sequence, min(_num_missing_tokens(sequence), builder.room))

    def _can_admit(self) -> bool:
        """Whether the head may run; a block for each running sequence stays free, or it would be preempted at once."""
        if not self.waiting or not self.num_open_places:
            return False
        head = self.waiting[0]
        if head.is_all_planned:  # preempted behind its last step; it ends when that is settled
            return False
        return self._blocks.has_room_for(head, head.num_tokens, num_reserved=len(self.running))

    def _make_room(self, sequence: GenerateSequence) -> bool:
        """A block for the next token, preempting from the newest on; False when `sequence` itself had to go."""
        while not self._blocks.grow(sequence):
            newest = self.running[-1]
            self._preempt(newest)
            if newest is sequence:
                return False
        return True

    def _preempt(self, sequence: GenerateSequence) -> None:
        """Back to the head of the queue without blocks; its tokens stay, to be prefilled again."""
        self.running.remove(sequence)
        self._blocks.release(sequence)
        self.waiting.appendleft(sequence)
        self.num_waiting_tokens += sequence.num_tokens
        self.num_preemptions += 1


def _can_decode(sequence: GenerateSequence) -> bool:
    return bool(sequence.blocks) and _num_missing_tokens(sequence) == 1 and not sequence.is_all_planned


def _num_missing_tokens(sequence: GenerateSequence) -> int:
    return len(sequence.tokens) - sequence.num_computed_tokens
