"""A scheduler over the toy runner, with every rule that must hold after each step checked after each step."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from server.engine.schedule.admission import ScheduledModel
from server.engine.schedule.block_pool import BlockPool
from server.engine.schedule.limits import ScheduleLimits
from server.engine.schedule.scheduler import End, Scheduler
from server.engine.schedule.sequence import GenerateSequence, ScoreRequest
from server.engine.schedule.step_plan import StepPlan
from server.wire import Failed, Finished, Generate, Sampling, Score, Scored
from tests.unit.engine.toy_runner import BAD, VOCAB, ToyRunner, solo_log_probs, solo_reply, toy_results


@dataclass(frozen=True)
class Shape:
    """One model's pool and window."""

    num_blocks: int
    block_tokens: int
    window: int


class Clock:
    """Monotonic seconds that pass when told to."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@dataclass
class Book:
    """What was admitted and how it ended."""

    admitted: dict[str, GenerateSequence | ScoreRequest] = field(default_factory=dict)
    ends: dict[str, End] = field(default_factory=dict)

    def close(self, end: End) -> None:
        assert end.request_id in self.admitted, end
        assert end.request_id not in self.ends, f"{end.request_id} ended twice"
        self.ends[end.request_id] = end

    @property
    def live(self) -> list[str]:
        return [request_id for request_id in self.admitted if request_id not in self.ends]


@dataclass(frozen=True)
class Launched:
    """A step that has run, its results not yet settled."""

    plan: StepPlan
    sampled: list[list[int] | None]
    gathered: list[list[float]]


class ToyEngine:
    """Adds, steps and drains; `book` has what came of it.

    With `overlaps` every step is planned and run before the results of the one before it are settled.
    """

    def __init__(
        self,
        shapes: dict[str, Shape],
        limits: ScheduleLimits | None = None,
        *,
        prefix_reuse: bool = True,
        overlaps: bool = False,
        drafts: bool = False,
        vocab: int = VOCAB,
    ) -> None:
        self.vocab = vocab
        self.clock = Clock()
        self.limits = limits or ScheduleLimits()
        self.pools = {model: BlockPool(shape.num_blocks, shape.block_tokens) for model, shape in shapes.items()}
        self.scheduler = Scheduler(
            {model: ScheduledModel(self.pools[model], shape.window) for model, shape in shapes.items()},
            self.limits,
            self.clock,
            prefix_reuse=prefix_reuse,
            drafts=drafts,
        )
        self.runner = ToyRunner({model: shape.block_tokens for model, shape in shapes.items()})
        self.book = Book()
        self.broken: set[str] = set()  # requests that a test made fail
        self._overlaps = overlaps
        self._launched: Launched | None = None
        self._num_requests = 0

    def generate(
        self, prompt: tuple[int, ...], num_tokens: int, deadline_s: float | None = None, caller: str = ""
    ) -> GenerateSequence:
        sampling = Sampling(max_new_tokens=num_tokens)
        sequence = self.scheduler.add_generate(Generate(self._name(), prompt, sampling, deadline_s, caller))
        self.book.admitted[sequence.request_id] = sequence
        return sequence

    def score(
        self,
        text: tuple[int, ...],
        candidates: tuple[tuple[int, ...], ...],
        prefix: tuple[int, ...] = (),
        closing: tuple[int, ...] = (),
        deadline_s: float | None = None,
        model: str = "mod",
        *,
        parts: tuple[tuple[int, ...], ...] = (),
        of_reply: bool = False,
        caller: str = "",
    ) -> ScoreRequest:
        message = Score(self._name(), model, prefix, text, closing, candidates, deadline_s, parts, of_reply, caller)
        request = self.scheduler.add_score(message)
        self.book.admitted[request.request_id] = request
        return request

    def step(self, while_running: Callable[[], None] = lambda: None) -> StepPlan | None:
        """One step; `while_running` acts between planning and settling. None when there was nothing to do at all."""
        before, self._launched = self._launched, None
        plan = self._launch(before)
        while_running()
        if before is not None:
            self._settle(before)
        if self._launched is not None and not self._overlaps:
            self._settle(self._launched)
            self._launched = None
        return plan or (before.plan if before else None)

    def _launch(self, before: Launched | None) -> StepPlan | None:
        oldest, decoding = self._oldest(), self._decoding()
        plan = self.scheduler.plan_step()
        if plan is None:
            assert before is not None or not self.book.live
            return None
        assert 0 < plan.step.num_tokens <= self.limits.max_step_tokens
        moved = {id(advance.sequence) for advance in plan.advances}
        assert oldest is None or id(oldest) in moved, "the oldest reply must move in every step"
        self._check_decodes(decoding, moved)
        self.scheduler.check()
        states = self.runner.run(plan.step, [each[0] if each else 0 for each in before.sampled] if before else ())
        self._launched = Launched(plan, *toy_results(plan, states, self.vocab))
        return plan

    def _settle(self, launched: Launched) -> None:
        self._close(self.scheduler.settle(launched.plan, launched.sampled, launched.gathered))
        self.scheduler.check()

    def drain(self) -> list[StepPlan]:
        """Steps until everything has ended. Each moves the oldest work, so their number has a bound."""
        plans = []
        for _ in range(self._max_steps()):
            plan = self.step()
            if plan is None:
                return plans
            plans.append(plan)
        raise AssertionError(f"{self.book.live} have not ended after {len(plans)} steps")

    def cancel(self, request_id: str) -> None:
        end = self.scheduler.cancel(request_id)
        assert (end is None) == (request_id not in self.book.live)
        if end is not None:
            assert end.reason == "cancelled"
            self.book.close(end)

    def stop(self, sequence: GenerateSequence) -> None:
        end = self.scheduler.finish(sequence, "stop")
        assert (end is None) == (sequence.request_id not in self.book.live)
        if end is not None:
            self.book.close(end)

    def expire(self, seconds: float) -> None:
        self.clock.now += seconds
        self._close(self.scheduler.expire(self.clock.now))
        deadlines = {name: self.book.admitted[name].deadline for name in self.book.live}
        assert not [name for name, deadline in deadlines.items() if deadline is not None and deadline <= self.clock.now]

    def reply(self, sequence: GenerateSequence) -> list[int]:
        return sequence.tokens[sequence.num_prompt_tokens :]

    def check_results(self) -> None:
        """Everything that ended says what it would have said alone."""
        for name, end in self.book.ends.items():
            request = self.book.admitted[name]
            if isinstance(request, GenerateSequence):
                self._check_reply(request, end)
            elif isinstance(end, Scored):
                assert end.log_probs == tuple(
                    solo_log_probs(tuple(window.tokens), request.tree.candidates) for window in request.sequences
                )
            else:
                assert isinstance(end, Failed | Finished), end

    def _check_reply(self, sequence: GenerateSequence, end: End) -> None:
        prompt, reply = tuple(sequence.tokens[: sequence.num_prompt_tokens]), self.reply(sequence)
        if BAD in prompt:
            assert isinstance(end, Failed) or not reply, "nothing is said from what is not a number"
            return
        if sequence.request_id in self.broken:
            return
        assert isinstance(end, Finished), end
        assert reply == solo_reply(prompt, len(reply), self.vocab)
        assert end.num_new_tokens == len(reply) <= sequence.max_new_tokens
        assert (end.reason == "length") == (len(reply) == sequence.max_new_tokens)

    def _check_decodes(self, decoding: list[GenerateSequence], moved: set[int]) -> None:
        """A reply that runs and has its prompt behind it gets a token, whatever else is to be done."""
        assert all(id(each) in moved for each in decoding if each.blocks), "preempted ones have no blocks"

    def _replies(self) -> list[GenerateSequence]:
        """Those that have not ended, the oldest first."""
        live = (self.book.admitted[name] for name in self.book.live)
        return [each for each in live if isinstance(each, GenerateSequence)]

    def _decoding(self) -> list[GenerateSequence]:
        running = [each for each in self._replies() if each.blocks and not each.is_all_planned]
        return [each for each in running if each.num_tokens - each.num_computed_tokens == 1]

    def _oldest(self) -> GenerateSequence | None:
        """The first that needs more steps; none while it waits for what one whose last step runs still holds."""
        replies = self._replies()
        oldest = next((each for each in replies if not each.is_all_planned), None)
        is_held_up = oldest is not None and not oldest.blocks and any(each.is_all_planned for each in replies)
        return None if is_held_up else oldest

    def _max_steps(self) -> int:
        """A step a token, and every preemption may repeat a window."""
        num_tokens = 1
        for name in self.book.live:
            request = self.book.admitted[name]
            if isinstance(request, GenerateSequence):
                num_tokens += request.num_prompt_tokens + request.max_new_tokens
            else:
                num_tokens += sum(window.num_entries for window in request.sequences)
        return num_tokens * (2 if self._overlaps else 1)  # some overlapping ones only wait for the one before

    def _close(self, ends: list[End]) -> None:
        for end in ends:
            self.book.close(end)

    def _name(self) -> str:
        self._num_requests += 1
        self.clock.now += 1e-6
        return f"r{self._num_requests}"
