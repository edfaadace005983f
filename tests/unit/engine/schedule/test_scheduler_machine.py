"""Anything in any order: every request ends once, says what it would have said alone, and no block is lost."""

from __future__ import annotations

import contextlib

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from server.engine.schedule.limits import ScheduleLimits
from server.engine.schedule.sequence import GenerateSequence
from server.errors import ErrorCode, ServiceError
from tests.unit.engine.toy_engine import Shape, ToyEngine
from tests.unit.engine.toy_runner import BAD, VOCAB

LABELS = (
    ((1,), (2,)),
    ((1, 2), (1, 3, 4), (5,)),
    ((1, 1, 1, 1), (1, 1, 2, 1), (1, 2), (2, 1, 1), (1,)),
)
PREFIXES = ((), (1, 2, 3), tuple(range(40, 54)), (*range(40, 50), 7, 7, 7, 7, 7), (1, 2, BAD, 4))
TOKENS = st.lists(st.integers(0, 2), max_size=10).map(tuple)


@st.composite
def shapes(draw: st.DrawFn) -> dict[str, Shape]:
    """Pools that hold at least one window each, many of them hardly more."""
    drawn = {}
    for model in ("chat", "mod", "out"):
        window = draw(st.integers(48, 64))
        block_tokens = draw(st.sampled_from((1, 2, 3, 4, 8)))
        num_blocks = -(-window // block_tokens) + draw(st.integers(0, 24 // block_tokens))
        drawn[model] = Shape(num_blocks, block_tokens, window)
    return drawn


@st.composite
def limits(draw: st.DrawFn) -> ScheduleLimits:
    """Room for the largest label tree beside all decodes, and often little more."""
    max_running = draw(st.integers(1, 6))
    max_step_tokens = max_running + draw(st.integers(10, 40))
    return ScheduleLimits(
        max_step_tokens=max_step_tokens,
        max_running=max_running,
        max_queue=draw(st.sampled_from((2, 100))),
        max_queued_tokens=draw(st.sampled_from((60, 10_000))),
        max_step_score_tokens=draw(st.sampled_from((9, None))) if max_step_tokens > 18 else 9,
        max_pinned_prefixes=draw(st.integers(0, 2)),
    )


class SchedulerMachine(RuleBasedStateMachine):
    """The toy engine checks each step; this drives it."""

    @initialize(
        shapes=shapes(),
        limits=limits(),
        prefix_reuse=st.booleans(),
        steps=st.sampled_from(("one by one", "overlapping", "drafting")),
        vocab=st.sampled_from((1, 2, VOCAB)),
    )
    def start(
        self, shapes: dict[str, Shape], limits: ScheduleLimits, prefix_reuse: bool, steps: str, vocab: int
    ) -> None:
        self.engine = ToyEngine(
            shapes,
            limits,
            prefix_reuse=prefix_reuse,
            overlaps=steps == "overlapping",
            drafts=steps == "drafting",
            vocab=vocab,
        )

    @rule(
        prefix=st.sampled_from(PREFIXES),
        tail=TOKENS,
        num_tokens=st.integers(1, 40),
        deadline_s=st.sampled_from((None, 3.0)),
    )
    def generate(
        self, prefix: tuple[int, ...], tail: tuple[int, ...], num_tokens: int, deadline_s: float | None
    ) -> None:
        with self.refusal_allowed():
            self.engine.generate((*prefix, *tail, 9), num_tokens, deadline_s)

    @precondition(lambda self: self.engine.book.ends)
    @rule(data=st.data(), question=TOKENS, num_tokens=st.integers(1, 12))
    def next_turn(self, data: st.DataObject, question: tuple[int, ...], num_tokens: int) -> None:
        """A prompt that begins with an earlier prompt and its reply."""
        ended = [self.engine.book.admitted[name] for name in self.engine.book.ends]
        replies = [request for request in ended if isinstance(request, GenerateSequence)]
        if replies:
            earlier = data.draw(st.sampled_from(replies)).tokens
            with self.refusal_allowed():
                self.engine.generate((*earlier, *question, 8), num_tokens)

    @rule(
        model=st.sampled_from(("mod", "out")),
        prefix=st.sampled_from(PREFIXES),
        text=st.one_of(TOKENS, st.integers(0, 120).map(lambda size: tuple(range(size)))),
        labels=st.sampled_from(LABELS),
        deadline_s=st.sampled_from((None, 3.0)),
        parts=st.lists(TOKENS, max_size=2).map(tuple),
        of_reply=st.booleans(),
    )
    def score(
        self,
        model: str,
        prefix: tuple[int, ...],
        text: tuple[int, ...],
        labels: tuple[tuple[int, ...], ...],
        deadline_s: float | None,
        parts: tuple[tuple[int, ...], ...],
        of_reply: bool,
    ) -> None:
        with self.refusal_allowed():
            self.engine.score(text, labels, prefix, (6, 6), deadline_s, model, parts=parts, of_reply=of_reply)

    @rule(num_steps=st.integers(1, 6))
    def step(self, num_steps: int) -> None:
        for _ in range(num_steps):
            self.engine.step()

    @precondition(lambda self: self.engine.book.live)
    @rule(data=st.data(), while_running=st.booleans())
    def cancel(self, data: st.DataObject, while_running: bool) -> None:
        name = data.draw(st.sampled_from(self.engine.book.live))
        if while_running:
            self.engine.step(while_running=lambda: self.engine.cancel(name))
        else:
            self.engine.cancel(name)

    @precondition(lambda self: self.engine.book.live)
    @rule(data=st.data())
    def stop(self, data: st.DataObject) -> None:
        request = self.engine.book.admitted[data.draw(st.sampled_from(self.engine.book.live))]
        if isinstance(request, GenerateSequence) and request.num_new_tokens:
            self.engine.stop(request)

    @rule(seconds=st.sampled_from((0.5, 2.0)), while_running=st.booleans())
    def time_passes(self, seconds: float, while_running: bool) -> None:
        if while_running:
            self.engine.step(while_running=lambda: self.engine.expire(seconds))
        else:
            self.engine.expire(seconds)

    @rule()
    def drain(self) -> None:
        self.engine.drain()
        assert all(pool.num_free_blocks for pool in self.engine.pools.values())

    @invariant()
    def everything_agrees(self) -> None:
        self.engine.scheduler.check()

    def teardown(self) -> None:
        if hasattr(self, "engine"):
            self.engine.drain()
            self.engine.check_results()
            assert self.engine.book.ends.keys() == self.engine.book.admitted.keys()
            assert self.engine.pools["chat"].num_free_blocks == self.engine.pools["chat"].num_blocks

    @contextlib.contextmanager
    def refusal_allowed(self):
        """A refusal must be for a full queue or an oversized request, and change nothing."""
        before = self.engine.scheduler.status()
        refused = None
        try:
            yield
        except ServiceError as error:
            refused = error
        if refused is not None:
            assert refused.code in (ErrorCode.QUEUE_FULL, ErrorCode.PROMPT_TOO_LONG), refused
            assert self.engine.scheduler.status() == before


TestSchedulerMachine = SchedulerMachine.TestCase
TestSchedulerMachine.settings = settings(max_examples=120, stateful_step_count=40, deadline=None, derandomize=True)
