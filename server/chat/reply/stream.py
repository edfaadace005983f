"""A reply on its way out: decoding goes on while what is written is judged, and only judged text leaves."""

from __future__ import annotations

import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Executor
from dataclasses import dataclass, field
from typing import Protocol

from server import wire
from server.chat.moderation.moderator import Moderator
from server.chat.moderation.parts import ReplySpan, sentences_before
from server.chat.moderation.policy import Role
from server.chat.records.phases import DECODE, FIRST_TOKEN, PhaseClock
from server.chat.records.turn_records import Judgement, KeepAlive, TextPiece
from server.chat.reply.clean import GrowingReply, ReplyCleaner
from server.chat.text.sentences import next_to_judge
from server.errors import ErrorCode, ServiceError

KEEP_ALIVE_S = 1.0
_DEADLINE, _SHUTDOWN = "deadline", "shutdown"
_RETRY_AFTER_S = 2.0
_LONGEST_MASKED = 64  # characters with blanks among them of what may be masked: account numbers, telephone numbers


def deadline_passed() -> ServiceError:
    """What a turn ends with whose deadline passed before its reply began."""
    return ServiceError(ErrorCode.DEADLINE, "the deadline passed before the reply began; the server is busy")


def shutting_down() -> ServiceError:
    """What a turn ends with that the shutdown found before its reply began."""
    message = "the server is shutting down; the reply had not begun"
    return ServiceError(ErrorCode.SHUTTING_DOWN, message, retry_after_s=_RETRY_AFTER_S)


# What a reply is refused with that was cut off before it began, by how it ended.
_CUT_OFF = {_DEADLINE: deadline_passed, _SHUTDOWN: shutting_down}


class ReplyEngine(Protocol):
    """The part of the engine's client that a reply needs."""

    def start(self, request: wire.Generate, deliver: Callable[[wire.FromEngine], None]) -> None:
        """Begin; messages come to `deliver` from another thread."""

    def cancel(self, request_id: str) -> None:
        """Stop and free what the request holds."""


@dataclass(frozen=True)
class ReplyVerdict:
    """How a reply ended. `text` is the whole reply as it is shown; it must not leave when `blocked` is set."""

    text: str
    finished: wire.Finished
    judgement: Judgement | None  # the worst of the reply's parts; None without moderation
    blocked: Judgement | None
    logprobs: tuple[wire.TokenLogprobs, ...] = ()


@dataclass(frozen=True)
class ReplyOrder:
    """What is generated and how it leaves.

    Attributes:
        question: what the reply is judged together with.
        begun: the reply's first words, which stand in the prompt: judged with the rest, and not sent again.
        piecewise: sentences leave as they pass; else the whole reply is judged at its end and nothing leaves before.
    """

    request: wire.Generate
    question: str
    piecewise: bool
    deadline_s: float
    begun: str = ""
    clock: PhaseClock = field(default_factory=PhaseClock)


_Event = wire.FromEngine | Judgement | ServiceError


class ReplyStream:
    """Runs one generation and judges it. Iterate `pieces()` to its end, then read `verdict`.

    Without a moderator (policy off) text leaves as it comes.
    """

    def __init__(
        self,
        engine: ReplyEngine,
        moderator: Moderator | None,
        executor: Executor,
        cleaner: ReplyCleaner,
        ending: threading.Event,
        order: ReplyOrder,
    ) -> None:
        self._engine = engine
        self._moderator = moderator
        self._executor = executor
        self._cleaner = cleaner
        self._ending = ending
        self._order = order
        self._deadline = time.monotonic() + order.deadline_s
        self._events: queue.SimpleQueue[_Event] = queue.SimpleQueue()
        self._held: deque[wire.Piece] = deque()  # pieces of a reply that leaves whole, not yet read
        self._begun = self._written = cleaner.shown(order.begun)
        self._logprobs: list[wire.TokenLogprobs] = []
        self._num_tokens = 0
        self._num_taken = len(self._begun)  # characters of `_written` that were judged or are being judged
        self._reply = GrowingReply(cleaner, self._begun)
        self._flushed = False  # whether the reply's end was taken
        self._before = sentences_before((), self._begun)  # the sentences of the run under way
        self._pieces: list[str] = []  # all that was taken, as it leaves
        self._num_shown = 0  # characters of them
        self._whole_judged = 0  # characters shown when the reply was last judged as a whole
        self._judging = ""  # what leaves when its verdict allows it
        self._is_judging = False
        self._free = ""  # what may leave and has not
        self._finished: wire.Finished | None = None
        self._judgement: Judgement | None = None

    @property
    def verdict(self) -> ReplyVerdict:
        """The end of the reply; only after `pieces()` is exhausted."""
        assert self._finished is not None, "pieces() is not exhausted"
        blocked = self._judgement if self._is_blocked() else None
        return ReplyVerdict(
            "".join(self._pieces), self._finished, self._judgement, blocked=blocked, logprobs=tuple(self._logprobs)
        )

    def pieces(self) -> Iterator[TextPiece | KeepAlive]:
        """Text that may leave, and a keep-alive whenever none has for a while, also while tokens come.

        Raises:
            ServiceError: the generation or a classification failed; nothing that was not judged has left.
        """
        self._order.clock.begin(FIRST_TOKEN)
        self._engine.start(self._order.request, self._events.put if self._order.piecewise else self._hold)
        silent_since = time.monotonic()
        try:
            while not self._is_over():
                self._take_event(silent_since + KEEP_ALIVE_S)
                self._judge_next()
                if text := self._leaving():
                    yield TextPiece(text, len(self._order.request.prompt), self._num_tokens)
                elif time.monotonic() >= silent_since + KEEP_ALIVE_S:
                    yield KeepAlive()
                else:
                    continue
                silent_since = time.monotonic()
        finally:
            # A reply that has ended is unknown to the engine; any other gives its blocks back.
            self._engine.cancel(self._order.request.request_id)

    def cancel(self, error: ServiceError) -> None:
        """End `pieces()` with `error`; from any thread."""
        self._events.put(error)

    def _hold(self, message: wire.FromEngine) -> None:
        """What comes for a reply that leaves whole; its thread sleeps until the end."""
        if isinstance(message, wire.Piece):
            self._note_first_token()
            self._held.append(message)
        else:
            self._events.put(message)

    def _is_blocked(self) -> bool:
        return self._judgement is not None and self._judgement.blocked

    def _is_over(self) -> bool:
        return self._is_blocked() or (self._flushed and not self._is_judging)

    def _take_event(self, until: float) -> None:
        """Wait for the next event, but not beyond `until`, and apply it."""
        if self._ending.is_set() and self._finished is None:
            self._apply_held()
            self._finish_early()
            return
        try:
            event = self._events.get(timeout=max(0.0, until - time.monotonic()))
        except queue.Empty:
            self._check_deadline()
            return
        self._apply_held()
        self._apply(event)

    def _apply_held(self) -> None:
        while self._held:
            self._apply(self._held.popleft())

    def _apply(self, event: _Event) -> None:
        if isinstance(event, ServiceError):
            raise event
        if isinstance(event, wire.Failed):
            raise ServiceError(event.code, event.message, retry_after_s=event.retry_after_s)
        if isinstance(event, wire.Piece):
            if self._finished is None:
                self._note_first_token()
                self._written += event.text
                self._num_tokens = event.num_tokens
                self._logprobs += event.logprobs
        elif isinstance(event, wire.Finished):
            self._note_first_token()
            self._order.clock.end(DECODE)
            self._end(event)
        else:
            assert isinstance(event, Judgement), event
            self._apply_verdict(event)

    def _note_first_token(self) -> None:
        if self._num_tokens == 0 and FIRST_TOKEN not in self._order.clock.seconds:
            self._order.clock.end(FIRST_TOKEN)
            self._order.clock.begin(DECODE)

    def _apply_verdict(self, judgement: Judgement) -> None:
        self._is_judging = False
        assert self._moderator is not None
        self._judgement = judgement if self._judgement is None else self._moderator.worse(self._judgement, judgement)
        if judgement.blocked:
            self._end(self._ended("moderated_output"))
        else:
            self._free += self._judging

    def _judge_next(self) -> None:
        """Take the next part of the reply, where there is one worth judging, and have it judged."""
        if self._is_judging or self._is_blocked() or self._flushed:
            return
        over = self._finished is not None
        end = len(self._written) if over else self._worth_judging()
        if end == self._num_taken and not over:
            return
        piece = self._masked(self._reply.next_piece(self._written, end, over=over))
        self._pieces.append(piece)
        self._num_taken, self._flushed = end, over
        if self._moderator is None:
            self._free += piece
        elif piece or (over and self._judgement is None):
            self._judging, self._is_judging = piece, True
            self._executor.submit(self._judge, self._span(piece, over))

    def _masked(self, piece: str) -> str:
        return piece if self._moderator is None else self._moderator.masked(piece, Role.OUTPUT)

    def _worth_judging(self) -> int:
        """Where the next part ends: nowhere yet, where nothing leaves before the end."""
        if not self._order.piecewise:
            return self._num_taken
        if self._moderator is None:
            return len(self._written)
        masks = self._moderator.masks(Role.OUTPUT)
        end = next_to_judge(self._written, self._num_taken, tail=_LONGEST_MASKED if masks else 0)
        if end == self._num_taken or not masks:
            return end
        return self._num_taken + self._moderator.uncut(
            self._written[self._num_taken :], end - self._num_taken, Role.OUTPUT
        )

    def _span(self, piece: str, over: bool) -> ReplySpan:
        """What `piece` is judged as. The whole counts again when it is twice as long: all in all that is linear."""
        whole, before = None, self._before
        self._num_shown += len(piece)
        if self._num_shown >= 2 * self._whole_judged or over:
            whole, self._whole_judged = self._begun + "".join(self._pieces), self._num_shown
        self._before = sentences_before(before, piece)
        return ReplySpan(piece, before, whole, question=self._order.question)

    def _judge(self, span: ReplySpan) -> None:
        assert self._moderator is not None
        try:
            left_s = max(1.0, self._deadline - time.monotonic())
            self._events.put(self._moderator.judge_reply(span, left_s, caller=self._order.request.caller))
        except ServiceError as error:
            self._events.put(error)
        except Exception as error:  # noqa: BLE001 - the edge of a thread; the turn must hear of it or it waits for ever
            self._events.put(ServiceError(ErrorCode.INTERNAL, f"judging the reply failed: {error!r}"))

    def _leaving(self) -> str:
        """What may leave now and has not."""
        if self._is_blocked() or not (self._order.piecewise or self._is_over()):
            return ""
        piece, self._free = self._free, ""
        return piece

    def _finish_early(self) -> None:
        self._engine.cancel(self._order.request.request_id)
        self._end(self._ended(_SHUTDOWN))

    def _end(self, finished: wire.Finished) -> None:
        """Note how the reply ended; what was cut off before its first word is no reply. Raises ServiceError."""
        if finished.reason in _CUT_OFF and self._cleaner.shown(self._written) == self._begun:
            raise _CUT_OFF[finished.reason]()
        self._finished = self._finished or finished

    def _ended(self, reason: str) -> wire.Finished:
        return wire.Finished(
            self._order.request.request_id,
            reason,
            len(self._order.request.prompt),
            num_cached_tokens=0,
            num_new_tokens=self._num_tokens,
        )

    def _check_deadline(self) -> None:
        if time.monotonic() > self._deadline + 10 * KEEP_ALIVE_S:
            raise ServiceError(
                ErrorCode.ENGINE_UNAVAILABLE, "the engine group did not answer in time; try again", retry_after_s=5.0
            )
