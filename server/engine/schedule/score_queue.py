"""Texts to classify: windows that have begun, requests that wait, and what each does in the next step."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping

from server.engine.schedule.model_blocks import ModelBlocks
from server.engine.schedule.sequence import ScoreRequest, ScoreSequence
from server.engine.schedule.step_plan import StepBuilder
from server.engine.schedule.turns import Turns


class ScoreLine:
    """Requests with windows to begin, next turn first."""

    def __init__(self) -> None:
        self.requests: list[ScoreRequest] = []
        self.num_tokens = 0  # of the windows to begin
        self._turns = Turns()

    def add(self, request: ScoreRequest) -> None:
        """Wait for a turn."""
        self._stand(request)
        self.num_tokens += request.num_waiting_tokens

    def remove(self, request: ScoreRequest) -> None:
        """Forget a request with windows to begin."""
        self.requests.remove(request)
        self.num_tokens -= request.num_waiting_tokens

    def take_window(self, request: ScoreRequest) -> ScoreSequence:
        """The request's next window; the request waits for another turn if it has more."""
        window = request.sequences[request.num_begun]
        request.num_begun += 1
        self.num_tokens -= window.num_own_tokens
        self.requests.remove(request)
        self._turns.serve(request.turn)
        if request.num_begun < len(request.sequences):
            self._stand(request)
        return window

    def _stand(self, request: ScoreRequest) -> None:
        request.turn = self._turns.take(request.caller)
        self.requests.insert(bisect_right(self.requests, request.turn, key=lambda each: each.turn), request)


class ScoreQueue:
    """Callers, and their requests, take turns to begin a window each: neither many texts nor a long one hold up others.

    Verdicts on replies stand in a line of their own, which goes first: what is under way ends before more begins. There
    are never more of them than replies under way, so the other line moves on too.

    A window takes all its blocks, those of its label tree included, before it begins, so one that has begun always
    ends and nothing is ever preempted.
    """

    def __init__(self, blocks: Mapping[str, ModelBlocks]) -> None:
        self.running: list[ScoreSequence] = []  # windows that have begun, the first of them first in every step
        self._of_replies, self._others = ScoreLine(), ScoreLine()
        self._blocks = blocks

    @property
    def waiting(self) -> list[ScoreRequest]:
        """All requests with windows to begin, next turn first."""
        return [*self._of_replies.requests, *self._others.requests]

    @property
    def num_waiting_tokens(self) -> int:
        """Tokens of the windows to begin."""
        return self._of_replies.num_tokens + self._others.num_tokens

    @property
    def has_work(self) -> bool:
        """Whether there is a window to plan."""
        return bool(self.running or self._of_replies.requests or self._others.requests)

    def line(self, request: ScoreRequest) -> ScoreLine:
        """Where the request stands, or would."""
        return self._of_replies if request.of_reply else self._others

    def add(self, request: ScoreRequest) -> None:
        """Wait behind the others."""
        self.line(request).add(request)

    def remove(self, request: ScoreRequest) -> None:
        """Forget a request and take the blocks of its windows back."""
        if request.waiting:
            self.line(request).remove(request)
        for window in [each for each in self.running if each.request is request]:
            self.end(window)

    def end(self, window: ScoreSequence) -> None:
        """Forget a window that has begun and take its blocks back."""
        self.running.remove(window)
        self._blocks[window.model].release(window)
        window.ended = True

    def plan(self, builder: StepBuilder, max_tokens: int, max_reply_tokens: int) -> None:
        """At most `max_tokens` tokens of windows, and at most `max_reply_tokens` with those that replies wait for.

        Those of replies go first, then those begun.
        """
        floors = {
            of_reply: builder.room - min(most, builder.room)
            for of_reply, most in ((True, max_reply_tokens), (False, max_tokens))
        }
        full: set[str] = set()
        for of_reply, line in ((True, self._of_replies), (False, self._others)):
            for window in [each for each in self.running if each.request.of_reply is of_reply]:
                self._plan_next(window, builder, builder.room - floors[of_reply])
            while builder.room > floors[of_reply] and (request := _next_turn(line, full)):
                if self._make_room(request.sequences[request.num_begun]):
                    self._plan_next(self._begin(request), builder, builder.room - floors[of_reply])
                else:
                    full.add(request.model)

    def _plan_next(self, window: ScoreSequence, builder: StepBuilder, room: int) -> None:
        """The rest with its tree if it fits; else as much text as leaves at least a token to end with."""
        if window.is_all_planned:
            return
        num_missing = window.num_tokens - window.num_computed_tokens
        if num_missing + window.tree.num_tokens <= room:
            builder.add_score_end(window)
        elif min(num_missing - 1, room) > 0:
            builder.add_score_chunk(window, min(num_missing - 1, room))

    def _begin(self, request: ScoreRequest) -> ScoreSequence:
        """Admit the request's next window."""
        window = self.line(request).take_window(request)
        self._blocks[request.model].admit(window, window.num_entries)
        self.running.append(window)
        return window

    def _make_room(self, window: ScoreSequence) -> bool:
        """Whether the window can begin; pinned prefixes yield when nothing of its model runs that would make room."""
        blocks = self._blocks[window.model]
        if blocks.has_room_for(window, window.num_entries):
            return True
        if any(other.model == window.model for other in self.running):
            return False
        blocks.unpin_for(window, window.num_entries)
        return True


def _next_turn(line: ScoreLine, full: set[str]) -> ScoreRequest | None:
    """The first in line whose model may still have room; None when there is none."""
    return next((request for request in line.requests if request.model not in full), None)
