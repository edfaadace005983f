"""Replies: those that run, those that wait, and what each does in the next step."""

from __future__ import annotations

from bisect import bisect_right
from collections import deque

from server.engine.schedule.model_blocks import ModelBlocks
from server.engine.schedule.prompt_lookup import MAX_DRAFT_TOKENS
from server.engine.schedule.sequence import GenerateSequence
from server.engine.schedule.step_plan import StepBuilder
from server.engine.schedule.turns import Turns

_LEAST_CHUNK_TOKENS = 32  # of a prompt in a step, if the step has as many left
_WORTH_WAITING_TOKENS = 64  # a prompt of fewer is computed again rather than kept waiting for a step


class GenerateQueue:
    """Callers take turns, each of them first come, first served; preempted sequences go before all others.

    `running` is in the order in which sequences began.
    """

    def __init__(self, blocks: ModelBlocks, max_running: int) -> None:
        self.running: list[GenerateSequence] = []
        self.waiting: list[GenerateSequence] = []
        self.num_waiting_tokens = 0
        self.num_preemptions = 0
        self._blocks = blocks
        self._max_running = max_running
        self._max_of_caller = max_running - max_running // 4  # the others are kept for other callers
        self._turns = Turns()

    @property
    def num_open_places(self) -> int:
        """Sequences that could run beside the running ones."""
        return self._max_running - len(self.running)

    @property
    def has_prompts(self) -> bool:
        """Whether there is a prompt to prefill in the next step, running or next to be admitted."""
        if any(_num_missing_tokens(sequence) > 1 for sequence in reversed(self.running)):
            return True
        return self._next_admitted() is not None

    def add(self, sequence: GenerateSequence) -> None:
        """Wait for a turn."""
        sequence.turn = self._turns.take(sequence.caller)
        self._wait(sequence)

    def remove(self, sequence: GenerateSequence) -> None:
        """Forget a sequence wherever it is and take its blocks back."""
        if sequence in self.running:
            self.running.remove(sequence)
            self._blocks.release(sequence)
        else:
            self.waiting.remove(sequence)
            self.num_waiting_tokens -= sequence.num_tokens

    def plan_decodes(self, builder: StepBuilder, *, drafts: bool) -> None:
        """A token for every sequence that is past its prompt, the oldest first; the newest give blocks to them.

        With `drafts`, more than one where a sequence repeats itself; never more than if as many ran as may.
        """
        decodes = [each for each in tuple(self.running) if _can_decode(each) and self._make_room(each)]
        room = self._max_running - len(decodes) if drafts else 0  # the step has room for as many rows at any time
        for place, sequence in enumerate(decodes):
            draft = self._draft(sequence, len(decodes), room // (len(decodes) - place))
            room -= len(draft)
            builder.add_decode(sequence, draft)

    def plan_prefills(self, builder: StepBuilder) -> None:
        """Prompts with what room is left, the oldest first, admitting as many as fit.

        While more prompts wait, none takes more than half of what is left: a short question behind a long one is
        answered beside it.
        """
        shares, room = self._prefill_shares(builder.room)
        for sequence, num_tokens in shares:
            more = min(_num_missing_tokens(sequence) - num_tokens, room)
            room -= more
            builder.add_generate(sequence, num_tokens + more)

    def check(self) -> None:
        """Prove that the queue is in order. Raises AssertionError."""
        assert sum(each.num_tokens for each in self.waiting) == self.num_waiting_tokens
        assert [_place(each) for each in self.waiting] == sorted(_place(each) for each in self.waiting)

    def _prefill_shares(self, room: int) -> tuple[list[tuple[GenerateSequence, int]], int]:
        """Who prefills how many tokens at least, and how many of `room` are left."""
        shares: list[tuple[GenerateSequence, int]] = []
        prompts = deque(each for each in self.running if _num_missing_tokens(each) > 1)
        while room and (sequence := prompts.popleft() if prompts else self._admit_next()):
            others_wait = prompts or self._next_admitted() is not None
            most = max(room // 2, min(room, _LEAST_CHUNK_TOKENS)) if others_wait else room
            shares.append((sequence, min(_num_missing_tokens(sequence), most)))
            room -= shares[-1][1]
        return shares, room

    def _draft(self, sequence: GenerateSequence, num_decodes: int, room: int) -> tuple[int, ...]:
        """What may follow the last token, where it pays and can be kept without taking blocks from others."""
        if sequence.num_pending_tokens or sequence.sampling.json_schema is not None:
            return ()
        left = sequence.max_new_tokens - sequence.num_new_tokens - 1  # the last token of all is never computed
        most = min(left, room, MAX_DRAFT_TOKENS)
        if most < 1 or not (found := sequence.lookup.draft(sequence.tokens, most)):
            return ()
        wanted = min(sequence.draft_length.tokens(num_decodes), most)
        return found[: self._blocks.grow_by(sequence, 1 + wanted) - 1]

    def _next_admitted(self) -> GenerateSequence | None:
        """Who begins next; a block for each running sequence stays free, or it would be preempted at once.

        Who asks the same as one whose prompt is being computed waits until it can share what comes of it.
        """
        if not self.waiting or not self.num_open_places:
            return None
        callers = [each.caller for each in self.running if each.caller]
        under_way = self._blocks.under_way(each for each in self.running if _num_missing_tokens(each) > 1)
        head = next(
            (
                each
                for each in self.waiting
                if callers.count(each.caller) < self._max_of_caller and not self._should_share(each, under_way)
            ),
            None,
        )
        if head is None or head.is_all_planned:  # preempted behind its last step; it ends when that is settled
            return None
        fits = self._blocks.has_room_for(head, head.num_tokens, num_reserved=len(self.running))
        return head if fits else None

    def _should_share(self, sequence: GenerateSequence, under_way: set[bytes]) -> bool:
        """Whether much of what `sequence` needs is being computed for another, to be had when that is done."""
        if not under_way or sequence.was_admitted or sequence.num_tokens < _WORTH_WAITING_TOKENS:
            return False
        return self._blocks.first_missing(sequence) in under_way

    def _admit_next(self) -> GenerateSequence | None:
        sequence = self._next_admitted()
        if sequence is not None:
            self.waiting.remove(sequence)
            self.num_waiting_tokens -= sequence.num_tokens
            self._turns.serve(sequence.turn)
            self._blocks.admit(sequence, sequence.num_tokens)
            self.running.append(sequence)
        return sequence

    def _make_room(self, sequence: GenerateSequence) -> bool:
        """A block for the next token, preempting from the newest on; False when `sequence` itself had to go."""
        while not self._blocks.grow_by(sequence, 1):
            newest = self.running[-1]
            self._preempt(newest)
            if newest is sequence:
                return False
        return True

    def _preempt(self, sequence: GenerateSequence) -> None:
        """Back into the queue without blocks; its tokens stay, to be prefilled again."""
        self.running.remove(sequence)
        self._blocks.release(sequence)
        self._wait(sequence)
        self.num_preemptions += 1

    def _wait(self, sequence: GenerateSequence) -> None:
        self.waiting.insert(bisect_right(self.waiting, _place(sequence), key=_place), sequence)
        self.num_waiting_tokens += sequence.num_tokens


def _place(sequence: GenerateSequence) -> tuple[bool, tuple[int, int]]:
    """Where a sequence stands in the queue: before all others when it has run before."""
    return not sequence.was_admitted, sequence.turn


def _can_decode(sequence: GenerateSequence) -> bool:
    if sequence.num_pending_tokens and sequence.sampling.json_schema is not None:
        return False  # what is allowed next depends on what comes now
    return bool(sequence.blocks) and _num_missing_tokens(sequence) == 1 and not sequence.is_all_planned


def _num_missing_tokens(sequence: GenerateSequence) -> int:
    return len(sequence.tokens) - sequence.num_computed_tokens
