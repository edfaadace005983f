"""Which tokens the group computes next, and whose results come back."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Mapping, Sequence

from server.engine.schedule.admission import Admission, ScheduledModel
from server.engine.schedule.counters import Counters, retry_after_s
from server.engine.schedule.generate_queue import GenerateQueue
from server.engine.schedule.limits import ScheduleLimits
from server.engine.schedule.model_blocks import ModelBlocks
from server.engine.schedule.pace import Pace
from server.engine.schedule.score_queue import ScoreQueue
from server.engine.schedule.sequence import CHAT, GenerateSequence, ScoreRequest
from server.engine.schedule.step_plan import ReplyRows, ScoreRows, StepBuilder, StepPlan
from server.errors import ErrorCode, ServiceError
from server.wire import Failed, Finished, Generate, Score, Scored, Status

End = Finished | Scored | Failed

NOT_FINITE = "The model gave numbers that are not finite; the request was ended, no other is concerned."
_MAX_UNSETTLED = 2  # the step that runs, and the one planned behind it


class Scheduler:
    """All work of one engine group, on rank 0.

    The loop is `plan_step`, run `plan.step`, `settle`. Requests may be added, cancelled or expired at any time between
    these calls, also while a planned step runs. Each admitted request ends once: exactly one `End` is returned for it,
    by whichever method ends it.

    Steps may overlap: one more step may be planned before the last one is settled. Tokens that the last one samples
    are `pending_token`s there, and what it computes may be read. Steps must run and be settled in the order of plans.
    """

    def __init__(
        self,
        models: Mapping[str, ScheduledModel],
        limits: ScheduleLimits,
        clock: Callable[[], float],
        *,
        prefix_reuse: bool = True,
        drafts: bool = False,
    ) -> None:
        """`models` by name, "chat" among them; `clock` gives monotonic seconds.

        `drafts`: whether replies are drafted from what was said before, where that pays and no step is under way.
        """
        assert CHAT in models, models.keys()
        self._counters = Counters()
        self._pace = Pace()
        self._clock = clock
        self._limits = limits
        self._blocks = {
            name: ModelBlocks(model.pool, prefix_reuse=prefix_reuse, max_pinned_prefixes=limits.max_pinned_prefixes)
            for name, model in models.items()
        }
        self._admission = Admission(models, limits)
        self._replies = GenerateQueue(self._blocks[CHAT], limits.max_running)
        self._scores = ScoreQueue({model: blocks for model, blocks in self._blocks.items() if model != CHAT})
        self._requests: dict[str, GenerateSequence | ScoreRequest] = {}
        self._next_deadline = math.inf
        self._unsettled: deque[StepPlan] = deque()
        self._settled_at = -math.inf
        self._drafts = drafts

    @property
    def num_running(self) -> int:
        """Replies and windows of texts that hold blocks."""
        return len(self._replies.running) + len(self._scores.running)

    @property
    def num_waiting(self) -> int:
        """Replies that hold none, and texts that are to hold more."""
        return len(self._replies.waiting) + len(self._scores.waiting)

    @property
    def num_waiting_tokens(self) -> int:
        """What those that wait will have to prefill, pinned or cached tokens not deducted."""
        return self._replies.num_waiting_tokens + self._scores.num_waiting_tokens

    @property
    def is_idle(self) -> bool:
        """Whether every admitted request has ended."""
        return not self._requests

    def add_generate(self, message: Generate) -> GenerateSequence:
        """Queue a reply. Raises ServiceError INVALID_FIELD, PROMPT_TOO_LONG or QUEUE_FULL with nothing changed."""
        self._refuse_known(message.request_id)
        sequence = self._admission.generate(message, self._clock())
        num_places = self._limits.max_queue + self._replies.num_open_places
        self._refuse_full(
            len(self._replies.waiting), num_places, self._replies.num_waiting_tokens, num_tokens=sequence.num_tokens
        )
        self._refuse_late(message.deadline_s)
        self._replies.add(sequence)
        self._note(sequence)
        return sequence

    def add_score(self, message: Score) -> ScoreRequest:
        """Queue a text. Raises ServiceError INVALID_FIELD, PROMPT_TOO_LONG or QUEUE_FULL with nothing changed."""
        self._refuse_known(message.request_id)
        request = self._admission.score(message, self._clock())
        num_places = self._limits.max_queue + self._limits.max_running
        line = self._scores.line(request)
        self._refuse_full(len(line.requests), num_places, line.num_tokens, num_tokens=request.num_waiting_tokens)
        self._scores.add(request)
        self._note(request)
        return request

    def cancel(self, request_id: str) -> Finished | None:
        """End a request at once, reason "cancelled"; None if there is none of that name."""
        request = self._requests.get(request_id)
        if request is None:
            return None
        self._end(request)
        if isinstance(request, GenerateSequence):
            return request.finished("cancelled")
        return Finished(request_id, "cancelled", 0, num_cached_tokens=0, num_new_tokens=0)

    def finish(self, sequence: GenerateSequence, reason: str) -> Finished | None:
        """End a reply whose text is complete; None if it has ended already."""
        if sequence.ended:
            return None
        self._end(sequence)
        return sequence.finished(reason)

    def expire(self, now: float) -> list[End]:
        """End what is past its deadline: replies with what they have, classifications as failed."""
        if now < self._next_deadline:
            return []
        late = [each for each in self._requests.values() if each.deadline is not None and each.deadline <= now]
        ends: list[End] = []
        for request in late:
            self._end(request)
            ends.append(_expired(request))
        deadlines = (each.deadline for each in self._requests.values() if each.deadline is not None)
        self._next_deadline = min(deadlines, default=math.inf)
        return ends

    def fail_all(self, code: ErrorCode, message: str) -> list[Failed]:
        """End everything: the group cannot go on."""
        requests = list(self._requests.values())
        for request in requests:
            self._end(request)
        return [Failed(request.request_id, code, message) for request in requests]

    def plan_step(self) -> StepPlan | None:
        """The next step; None when nothing can run: everything has ended, or waits for the step under way."""
        assert len(self._unsettled) < _MAX_UNSETTLED, "the plan before the last one is not settled"
        builder = StepBuilder(self._limits.max_step_tokens)
        self._replies.plan_decodes(builder, drafts=self._drafts and not self._unsettled)
        if self._scores.has_work:
            self._scores.plan(builder, *self._score_room(builder))
        self._replies.plan_prefills(builder)
        plan = builder.finish(self._counters.steps + len(self._unsettled), self._clock())
        assert plan or self._unsettled or self.is_idle, "work is left, but none of it can run"
        if plan is not None:
            self._unsettled.append(plan)
            self._advance(plan)
        return plan

    def settle(
        self, plan: StepPlan, replies: Sequence[Sequence[int] | None], gathered: Sequence[Sequence[float]]
    ) -> list[End]:
        """Take a step's results: replies grow, and some requests end.

        Args:
            plan: the first that is not settled.
            replies: for each of `plan.reply_rows` its `verified` tokens, or as many of them as the reply is to have;
                None where the model's numbers were not finite.
            gathered: for each of `plan.score_rows`, the log-probability of each of its (row, token id) pairs.

        Returns:
            `Finished(reason="length")` for a reply that has all its tokens, `Scored` for a text whose last window is
            done, `Failed` for what got numbers that are not finite. What has ended since the step was planned is passed
            over.
        """
        first = self._unsettled.popleft()
        assert plan is first, "plans are settled in order"
        self._count(plan)
        ends: list[End] = []
        for reply_rows, tokens in zip(plan.reply_rows, replies, strict=True):
            ends.extend(self._settle_reply(reply_rows, tokens))
        for rows, log_probs in zip(plan.score_rows, gathered, strict=True):
            ends.extend(self._settle_window(rows, log_probs))
        return ends

    def status(self) -> Status:
        """Queues, blocks and totals since the start."""
        pools = {model: blocks.pool for model, blocks in self._blocks.items()}
        return Status(
            num_running=self.num_running,
            num_waiting=self.num_waiting,
            num_waiting_tokens=self.num_waiting_tokens,
            steps=self._counters.steps,
            free_blocks={model: pool.num_free_blocks for model, pool in pools.items()},
            total_blocks={model: pool.num_blocks for model, pool in pools.items()},
            preemptions=self._replies.num_preemptions,
            generated_tokens=self._counters.generated_tokens,
            prefilled_tokens=self._counters.prefilled_tokens,
            cached_tokens=sum(blocks.num_cached_tokens for blocks in self._blocks.values()),
            step_seconds=self._counters.step_seconds,
            drafted_tokens=self._counters.drafted_tokens,
            accepted_tokens=self._counters.accepted_tokens,
            nonfinite_requests=self._counters.nonfinite_requests,
            reply_interval_s=self._pace.reply_interval_s(self._limits.max_running),
        )

    def check(self) -> None:
        """Prove that blocks, queues and requests agree. Raises AssertionError."""
        replies = [*self._replies.running, *self._replies.waiting]
        windows = [*self._scores.running, *(window for request in self._scores.waiting for window in request.waiting)]
        live = {each.request_id for each in (*replies, *windows)}
        assert live == self._requests.keys(), live ^ self._requests.keys()
        self._replies.check()
        num_waiting_tokens = sum(window.num_own_tokens for window in windows if not window.was_admitted)
        assert num_waiting_tokens == self._scores.num_waiting_tokens
        for model, blocks in self._blocks.items():
            blocks.check(each for each in (*replies, *windows) if each.model == model)

    def _score_room(self, builder: StepBuilder) -> tuple[int, int]:
        """Tokens for texts, and for those among them that a reply waits for.

        All that is left after decoding, or classification's share of it while prompts wait; a reply's verdict goes
        before the prompts of others all the same.
        """
        if not self._replies.has_prompts:
            return builder.room, builder.room
        return min(self._limits.score_share_tokens, builder.room - 1), builder.room - 1

    def _advance(self, plan: StepPlan) -> None:
        for advance in plan.advances:
            self._blocks[advance.sequence.model].advance(advance.sequence, advance.num_tokens)
        for reply_rows in plan.reply_rows:
            reply_rows.sequence.plan_token(reply_rows.first_row)
            self._counters.drafted_tokens += len(reply_rows.draft)
        for rows in plan.score_rows:
            rows.sequence.is_all_planned = True

    def _count(self, plan: StepPlan) -> None:
        now = self._clock()
        num_decoded = sum(rows.num_rows for rows in plan.reply_rows if rows.sequence.num_new_tokens)
        # An overlapped step begins in earnest when the one before it is done.
        seconds = now - max(plan.started, self._settled_at)
        self._counters.add_step(plan.step.num_tokens, num_decoded, seconds)
        self._pace.add_step(plan.step.num_tokens - num_decoded, num_decoded, seconds)
        self._settled_at = now

    def _settle_reply(self, rows: ReplyRows, tokens: Sequence[int] | None) -> list[End]:
        sequence = rows.sequence
        if sequence.ended:
            return []
        if tokens is None:
            self._blocks[CHAT].forget(sequence)
            return [self._fail(sequence)]
        sequence.settle_tokens(tokens)
        if rows.draft:
            sequence.draft_length.note(len(rows.draft), len(tokens) - 1)
            self._counters.accepted_tokens += len(tokens) - 1
        self._blocks[CHAT].register_full(sequence)
        self._counters.generated_tokens += len(tokens)
        if sequence.num_new_tokens < sequence.max_new_tokens:
            return []
        self._end(sequence)
        return [sequence.finished("length")]

    def _settle_window(self, rows: ScoreRows, log_probs: Sequence[float]) -> list[End]:
        sequence = rows.sequence
        if sequence.ended:
            return []
        if not all(map(math.isfinite, log_probs)):
            for window in sequence.request.sequences:
                self._blocks[sequence.model].forget(window)
            return [self._fail(sequence.request)]
        sequence.log_probs = sequence.tree.by_candidate(log_probs)
        self._blocks[sequence.model].pin_prefix(sequence, sequence.num_prefix_tokens)
        self._scores.end(sequence)
        scored = sequence.request.scored()
        if scored is None:
            return []
        self._end(sequence.request)
        return [scored]

    def _fail(self, request: GenerateSequence | ScoreRequest) -> Failed:
        """End a request for which the model has no numbers."""
        self._end(request)
        self._counters.nonfinite_requests += 1
        return Failed(request.request_id, ErrorCode.INTERNAL, NOT_FINITE)

    def _note(self, request: GenerateSequence | ScoreRequest) -> None:
        self._requests[request.request_id] = request
        if request.deadline is not None:
            self._next_deadline = min(self._next_deadline, request.deadline)

    def _end(self, request: GenerateSequence | ScoreRequest) -> None:
        del self._requests[request.request_id]
        request.ended = True
        if isinstance(request, GenerateSequence):
            if request.num_new_tokens:
                self._pace.end_reply(request.num_new_tokens)
            self._replies.remove(request)
            request.drop_pending()
        else:
            self._scores.remove(request)

    def _refuse_known(self, request_id: str) -> None:
        if request_id in self._requests:
            message = f"request_id={request_id!r} is in use by a request that has not ended."
            raise ServiceError(ErrorCode.INVALID_FIELD, message, field="request_id")

    def _refuse_late(self, deadline_s: float | None) -> None:
        """Refuse a reply that would not begin before its deadline: whoever waits for it would wait in vain."""
        num_before = len(self._replies.waiting) + 1 - self._replies.num_open_places
        if deadline_s is None or num_before <= 0:
            return
        wait_s = num_before * self._pace.reply_interval_s(self._limits.max_running)
        if wait_s > deadline_s:
            message = f"a reply would begin in about {wait_s:.0f} s; the request has {deadline_s:.0f} s."
            raise ServiceError(ErrorCode.QUEUE_FULL, message, retry_after_s=retry_after_s(wait_s - deadline_s))

    def _refuse_full(self, num_waiting: int, num_places: int, num_waiting_tokens: int, num_tokens: int) -> None:
        most = self._limits.max_queued_tokens
        if num_waiting >= num_places:
            message = f"{num_waiting} requests wait already, at most {num_places} may."
        elif num_waiting and num_waiting_tokens + num_tokens > most:
            message = f"{num_waiting_tokens} tokens wait already, {num_tokens} more would exceed {most}."
        else:
            return
        after_s = self._counters.retry_after_s(num_waiting_tokens + num_tokens)
        raise ServiceError(ErrorCode.QUEUE_FULL, message, retry_after_s=after_s)


def _expired(request: GenerateSequence | ScoreRequest) -> End:
    if isinstance(request, GenerateSequence):
        return request.finished("deadline")
    return Failed(request.request_id, ErrorCode.DEADLINE, "The text was not classified before the request's deadline.")
