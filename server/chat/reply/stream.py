"""A reply on its way out: decoding goes on while what is written is judged, and only judged text leaves."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import Protocol

from server import wire
from server.chat.moderation.moderator import Moderator
from server.chat.records.turn_records import Judgement, KeepAlive, TextPiece
from server.chat.reply.clean import ReplyCleaner
from server.chat.text.sentences import next_to_judge
from server.errors import ErrorCode, ServiceError

_KEEP_ALIVE_S = 1.0
_DEADLINE, _SHUTDOWN = "deadline", "shutdown"
_RETRY_AFTER_S = 2.0


def _deadline_passed() -> ServiceError:
    return ServiceError(ErrorCode.DEADLINE, "the deadline passed before the reply began; the server is busy")


def _shutting_down() -> ServiceError:
    message = "the server is shutting down; the reply had not begun"
    return ServiceError(ErrorCode.SHUTTING_DOWN, message, retry_after_s=_RETRY_AFTER_S)


# What a reply is refused with that was cut off before it began, by how it ended.
_CUT_OFF = {_DEADLINE: _deadline_passed, _SHUTDOWN: _shutting_down}


class Generator(Protocol):
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
    judgement: Judgement | None  # of the longest text that was judged; None without moderation
    blocked: Judgement | None
    logprobs: tuple[wire.TokenLogprobs, ...] = ()


@dataclass(frozen=True)
class _Judged:
    """The verdict on the first `num_chars` characters."""

    num_chars: int
    judgement: Judgement


_Event = wire.FromEngine | _Judged | ServiceError


class ReplyStream:
    """Runs one generation and judges it. Iterate `pieces()` to its end, then read `verdict`.

    With `piecewise`, sentences leave as they pass; without, the whole reply is judged once and nothing leaves before.
    Without a moderator (policy off) text leaves as it comes.
    """

    def __init__(
        self,
        engine: Generator,
        request: wire.Generate,
        moderator: Moderator | None,
        executor: Executor,
        cleaner: ReplyCleaner,
        ending: threading.Event,
        *,
        piecewise: bool,
        deadline_s: float,
        begun: str = "",
    ) -> None:
        """`begun` are the reply's first words, which stand in the prompt: judged with the rest, and not sent again."""
        self._engine = engine
        self._request = request
        self._moderator = moderator
        self._cleaner = cleaner
        self._executor = executor
        self._ending = ending
        self._piecewise = piecewise
        self._deadline = time.monotonic() + deadline_s
        self._events: queue.SimpleQueue[_Event] = queue.SimpleQueue()
        self._begun = cleaner.shown(begun)
        self._written = ""
        self._logprobs: list[wire.TokenLogprobs] = []
        self._num_tokens = 0
        self._num_passed = 0  # characters of `_written` that may leave
        self._sent = ""
        self._judging = False
        self._finished: wire.Finished | None = None
        self._judgement: Judgement | None = None

    @property
    def verdict(self) -> ReplyVerdict:
        """The end of the reply; only after `pieces()` is exhausted."""
        assert self._finished is not None, "pieces() is not exhausted"
        blocked = self._judgement if self._is_blocked() else None
        shown = self._shown(self._written)
        return ReplyVerdict(shown, self._finished, self._judgement, blocked, tuple(self._logprobs))

    def pieces(self) -> Iterator[TextPiece | KeepAlive]:
        """Text that may leave, and a keep-alive whenever none has for a while, also while tokens come.

        Raises:
            ServiceError: the generation or a classification failed; nothing that was not judged has left.
        """
        self._engine.start(self._request, self._events.put)
        silent_since = time.monotonic()
        try:
            while not self._is_over():
                self._take_event(silent_since + _KEEP_ALIVE_S)
                self._judge_next()
                if text := self._leaving():
                    yield TextPiece(text)
                elif time.monotonic() >= silent_since + _KEEP_ALIVE_S:
                    yield KeepAlive()
                else:
                    continue
                silent_since = time.monotonic()
        finally:
            # A reply that has ended is unknown to the engine; any other gives its blocks back.
            self._engine.cancel(self._request.request_id)

    def _is_blocked(self) -> bool:
        return self._judgement is not None and self._judgement.blocked

    def _is_over(self) -> bool:
        if self._is_blocked():
            return True
        return self._finished is not None and not self._judging and self._num_passed == len(self._written)

    def _take_event(self, until: float) -> None:
        """Wait for the next event, but not beyond `until`, and apply it."""
        if self._ending.is_set() and self._finished is None:
            self._finish_early()
            return
        try:
            self._apply(self._events.get(timeout=max(0.0, until - time.monotonic())))
        except queue.Empty:
            self._check_deadline()

    def _apply(self, event: _Event) -> None:
        if isinstance(event, ServiceError):
            raise event
        if isinstance(event, wire.Failed):
            raise ServiceError(event.code, event.message, retry_after_s=event.retry_after_s)
        if isinstance(event, wire.Piece):
            if self._finished is None:
                self._written += event.text
                self._num_tokens = event.num_tokens
                self._logprobs += event.logprobs
        elif isinstance(event, wire.Finished):
            self._end(event)
        else:
            assert isinstance(event, _Judged), event
            self._apply_verdict(event)

    def _apply_verdict(self, judged: _Judged) -> None:
        self._judging = False
        self._judgement = judged.judgement
        if judged.judgement.blocked:
            self._end(self._ended("moderated_output"))
        else:
            self._num_passed = judged.num_chars

    def _judge_next(self) -> None:
        if self._judging or self._is_blocked():
            return
        if self._moderator is None:
            self._num_passed = len(self._written)
            return
        end = self._num_passed
        if self._finished is not None:
            end = len(self._written)
        elif self._piecewise:
            end = next_to_judge(self._written, self._num_passed)
        if end > self._num_passed or (self._finished is not None and self._judgement is None):
            self._judging = True
            self._executor.submit(self._judge, end)

    def _judge(self, end: int) -> None:
        assert self._moderator is not None
        try:
            text = self._begun + self._shown(self._written[:end])
            judgement = self._moderator.judge_reply(text, max(1.0, self._deadline - time.monotonic()))
            self._events.put(_Judged(end, judgement))
        except ServiceError as error:
            self._events.put(error)
        except Exception as error:  # noqa: BLE001 - the edge of a thread; the turn must hear of it or it waits for ever
            self._events.put(ServiceError(ErrorCode.INTERNAL, f"judging the reply failed: {error!r}"))

    def _leaving(self) -> str:
        """What may leave now and has not; white space at the end waits for what follows it."""
        if self._is_blocked() or not (self._piecewise or self._is_over()):
            return ""
        text = self._written[: self._num_passed]
        if not self._is_over():
            text = text[: self._cleaner.stable_end(text)]
        shown = self._shown(text)
        if not shown.startswith(self._sent):
            return ""
        piece, self._sent = shown[len(self._sent) :], shown
        return piece

    def _shown(self, text: str) -> str:
        """What is shown of a text behind the words that the reply begins with."""
        return self._cleaner.shown(self._begun + text)[len(self._begun) :]

    def _finish_early(self) -> None:
        self._engine.cancel(self._request.request_id)
        self._end(self._ended(_SHUTDOWN))

    def _end(self, finished: wire.Finished) -> None:
        """Note how the reply ended; what was cut off before its first word is no reply. Raises ServiceError."""
        if finished.reason in _CUT_OFF and not self._shown(self._written):
            raise _CUT_OFF[finished.reason]()
        self._finished = self._finished or finished

    def _ended(self, reason: str) -> wire.Finished:
        return wire.Finished(self._request.request_id, reason, len(self._request.prompt), 0, self._num_tokens)

    def _check_deadline(self) -> None:
        if time.monotonic() > self._deadline + 10 * _KEEP_ALIVE_S:
            raise ServiceError(
                ErrorCode.ENGINE_UNAVAILABLE, "the engine group did not answer in time; try again", retry_after_s=5.0
            )
