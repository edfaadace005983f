"""One turn, from a question to a moderated, sourced and stored answer."""

from __future__ import annotations

import hashlib
import logging
import threading
import time
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import Executor, Future
from contextlib import AbstractContextManager, closing, nullcontext
from dataclasses import dataclass, field
from functools import partial
from typing import TypeVar

import msgspec

from server import wire
from server.chat.moderation.moderator import Moderator
from server.chat.prompt.prompt import Prompt, PromptBuilder
from server.chat.records.phases import CLAIM, STORE
from server.chat.records.session_ids import new_session_id
from server.chat.records.turn_records import (
    FoundSources,
    KeepAlive,
    Session,
    TextPiece,
    TurnEvent,
    TurnRequest,
    TurnResult,
)
from server.chat.reply.citations import MarkedText
from server.chat.reply.clean import ReplyCleaner
from server.chat.reply.stream import ReplyEngine, ReplyOrder, ReplyStream
from server.chat.store.store import Claim, SessionBusy, Store, next_turn
from server.chat.turn_gate import TurnGate
from server.chat.turn_in_progress import OpenTurn, TurnsUnderWay, cancelled_error
from server.chat.turn_judge import TurnJudge, normalised
from server.chat.turn_prompt import TurnPrompts
from server.chat.turn_rewrite import StandaloneQuestions
from server.chat.turn_search import SearchSettings, TurnSearch, nothing_found
from server.chat.turn_summary import TurnSummaries
from server.chat.turn_waits import Waits
from server.errors import ErrorCode, ServiceError
from server.retrieval.retriever import Passage, Retriever

T = TypeVar("T")

log = logging.getLogger(__name__)

_HOUR_S = 3600
_BUSY_POLL_S = 0.1
_JUDGE_RESERVE_S = 2.0  # of a request's deadline, kept for the verdict on the reply
_STORE_GRACE_S = 3.0  # beyond the deadline, for a turn that has its answer to be written down


@dataclass(frozen=True)
class TurnSettings:
    """What a turn takes from the configuration."""

    model: str
    owner: str  # this front's name for its claims: the same after a restart, different from any other live front's
    search: SearchSettings = field(default_factory=SearchSettings)
    require_session: bool = False
    judge_before_search: bool = False  # a question that leaves the house is judged before it does
    session_wait_s: float = 0.0
    system_prompt: str = ""  # the deployment's instructions, before anybody's own
    max_turns: int = 200
    summary_tokens: int = 0  # that what the window forgets is summed up in; 0: it is not


@dataclass(frozen=True)
class Collaborators:
    """Whom a turn needs; without a moderator nothing is judged, without a retriever nothing is found, without a gate
    every turn is let in.
    """

    engine: ReplyEngine
    prompts: PromptBuilder
    store: Store
    executor: Executor
    moderator: Moderator | None = None
    retriever: Retriever | None = None
    gate: TurnGate | None = None


class TurnService:
    """Answers questions. Streaming and not, the reply takes the same way through moderation."""

    def __init__(self, with_: Collaborators, settings: TurnSettings, clock: Callable[[], float] = time.time) -> None:
        self._with = with_
        self._store = with_.store
        self._prompts = TurnPrompts(with_.prompts, settings.system_prompt)
        self._judge = TurnJudge(with_.moderator, with_.executor)
        questions = StandaloneQuestions(self._reply_to, self._prompts, settings.search.rewrite_s)
        self._search = TurnSearch(
            with_.retriever, with_.executor, self._judge, questions=questions, settings=settings.search
        )
        self._cleaner = ReplyCleaner(with_.prompts.chat_format)
        self._settings = settings
        self._clock = clock
        self._ending = threading.Event()
        self._under_way = TurnsUnderWay()
        self._waits = Waits(with_.executor, self._ending)
        self._summaries = TurnSummaries(
            self._reply_to, self._prompts, with_.store, ending=self._ending, num_tokens=settings.summary_tokens
        )

    def answer(self, request: TurnRequest, has_left: Callable[[], bool] = lambda: False) -> TurnResult:
        """The whole answer at once. `has_left` is asked now and then whether the client is gone: then it is cancelled.

        Raises:
            ServiceError: no answer; CANCELLED also when the client has left.
        """
        with closing(self._events(request, piecewise=False)) as events:
            for event in events:
                if isinstance(event, TurnResult):
                    return event
                if has_left():
                    raise cancelled_error()
        raise AssertionError("a turn ends with its result")

    def cancel(self, session_id: str | None = None, request_id: str | None = None, *, owner: str = "") -> int:
        """End an owner's turns of a session, or of one HTTP call, at once; the session is free for the next question.

        Nothing of them is stored. How many were under way.
        """
        turns = self._under_way.of(session_id, request_id, owner)
        for turn in turns:
            turn.cancel()
            if turn.claim is not None:
                self._store.of(owner).release(turn.claim)
        return len(turns)

    def stream(self, request: TurnRequest) -> Iterator[TurnEvent]:
        """Checked text as it comes, keep-alives, and last the result. Closing the iterator cancels the turn.

        Raises:
            ServiceError: before the first event or in the middle; nothing is stored then.
        """
        return self._events(request, piecewise=True)

    def check(self, request: TurnRequest) -> None:
        """Refuse what can be refused without a look at the conversation; `answer` and `stream` begin with it, too.

        Raises:
            ServiceError: the question does not fit the window, or is too large to be stored.
        """
        self._prompts.check(normalised(request))

    def end_all(self) -> None:
        """End the turns under way with what they have; their finish reason is "shutdown"."""
        self._ending.set()

    def _events(self, request: TurnRequest, *, piecewise: bool) -> Generator[TurnEvent]:
        with self._let_in(request):
            request = self._judge.as_judged(request)
            self._prompts.check(request)
            turn = OpenTurn(request, system=self._prompts.instructions(request, ""))
            with self._under_way.noted(turn):
                yield from self._answered(turn, piecewise)

    def _let_in(self, request: TurnRequest) -> AbstractContextManager[None]:
        return nullcontext() if self._with.gate is None else self._with.gate.inside(request.deadline_s, request.owner)

    def _answered(self, turn: OpenTurn, piecewise: bool) -> Iterator[TurnEvent]:
        request = turn.request
        if request.history is not None:
            turn.session = Session(request.session_id or "", self._this_hour(), request.history)
        if request.history and self._with.moderator is not None:  # what never enters the prompt is not judged
            turn.session = self._prompts.without_unseen_turns(turn)
        judged = self._judge.start(turn)  # meanwhile, the store's answers are waited for
        found: Future[list[Passage]] = nothing_found()
        stored = False
        try:
            if request.history is None:
                turn.clock.begin(CLAIM)
                if request.session_id is None:  # there is nothing to load
                    self._open(turn, None)
                else:
                    yield from self._stored(turn, partial(self._open, turn, request.session_id))
            # A turn that another request adds while the session is busy is the next question's to know.
            if not self._settings.judge_before_search:
                found = self._search.start(turn)
            if request.history is None:
                turn.claim = yield from self._claim(turn)
                if turn.claim is None:
                    result = turn.answered_before()
                    assert result is not None, "what is not claimed was answered before"
                    yield result
                    return
                turn.clock.end(CLAIM)
            turn.go_on()
            yield from self._waits.until_done(turn, judged)
            blocked = self._judge.wait(turn, judged)
            if blocked is None and self._settings.judge_before_search:
                found = self._search.start(turn)
            if blocked is not None:
                result = turn.result(blocked.message, "moderated_input")
            else:
                if TurnSearch.found_nothing(found):  # and so nothing is to be judged
                    turn.passages = self._search.wait(turn, found)
                else:
                    turn.passages = yield from self._waits.result(turn, partial(self._search.wait, turn, found))
                turn.go_on()
                prompt = self._prompts.build(turn)
                turn.passages = turn.passages[: prompt.num_passages]
                reply = turn.reply = self._reply(turn, prompt, piecewise)
                if turn.preface and piecewise:
                    yield TextPiece(turn.preface)
                yield from _events_of(turn, reply, piecewise)
                result = turn.finish(prompt, reply.verdict)
                self._judge.note_reply(turn, reply.verdict)
                if reply.verdict.blocked is not None and piecewise:
                    yield TextPiece(result.outputs)
            with turn.clock.phase(STORE):
                yield from self._written(turn, result)
            stored = True
            self._summaries.consider(turn)
            result = msgspec.structs.replace(result, phases=turn.clock.phases)
            self._log_end(turn, result)
            yield turn.shown(result)
        finally:
            # What is still under way for a turn that ended early is ignored when it comes.
            judged.cancel()
            found.cancel()
            if turn.claim is not None and not stored:
                self._waits.in_passing(partial(self._store.of(request.owner).release, turn.claim))

    def _stored(
        self, turn: OpenTurn, function: Callable[[], T], give_back: Callable[[T], object] = lambda _: None
    ) -> Generator[KeepAlive, None, T]:
        """What `function` asks the store, which is waited for where it may take a while."""
        if not self._store.waits:
            return function()
        return (yield from self._waits.result(turn, function, give_back=give_back))

    def _written(self, turn: OpenTurn, result: TurnResult) -> Iterator[KeepAlive]:
        """Write the turn down."""
        if self._store.waits:
            yield from self._waits.last_result(turn, partial(self._complete, turn, result), _STORE_GRACE_S)
        else:
            self._complete(turn, result)

    def _this_hour(self) -> float:
        """When a conversation that its client keeps is said to have begun: its prompts then share their first lines."""
        return self._clock() // _HOUR_S * _HOUR_S

    def _load(self, store: Store, session_id: str | None, behind: int | None) -> Session:
        session = None if session_id is None else store.load(session_id, self._settings.max_turns, behind)
        if session is None and session_id is not None and self._settings.require_session:
            raise ServiceError(
                ErrorCode.SESSION_NOT_FOUND,
                f"session_id={session_id!r}: no such session, or it has expired",
                field="parameters.session_id",
            )
        return session or Session(session_id or new_session_id(), self._clock())

    def _open(self, turn: OpenTurn, session_id: str | None) -> None:
        """Load the conversation as the question goes on from it."""
        request = turn.request
        turn.session = self._load(self._store.of(request.owner), session_id, request.behind)
        if request.behind is not None:
            turn.go_on_behind(request.behind)
        if request.number is not None and next_turn(turn.session) != request.number:
            raise SessionBusy(turn.session.session_id, request.number, "another request has taken it")
        turn.system = self._prompts.instructions(request, turn.session.system)
        if request.replaces is not None and turn.answered_before() is None:
            turn.replace(request.replaces)

    def _claim(self, turn: OpenTurn) -> Generator[KeepAlive, None, Claim | None]:
        """Take the session's next turn; while it is busy, wait as long as the settings and the deadline allow.

        None when this very request was answered before.
        """
        store = self._store.of(turn.request.owner)
        give_up = time.monotonic() + min(self._settings.session_wait_s, turn.remaining_s)
        while turn.answered_before() is None:
            claim = partial(store.claim, turn.session, self._settings.owner)
            try:
                return (yield from self._stored(turn, claim, give_back=store.release))
            except SessionBusy:
                left_s = give_up - time.monotonic()
                if left_s <= 0:
                    raise
            yield from self._waits.pause(turn, min(_BUSY_POLL_S, left_s))
            yield from self._stored(turn, partial(self._open, turn, turn.session.session_id))
        return None

    def _reply(self, turn: OpenTurn, prompt: Prompt, piecewise: bool) -> ReplyStream:
        remaining = turn.remaining_s
        request = wire.Generate(
            request_id=f"{turn.request.request_id}-{_digest(turn.session.session_id)}-{time.monotonic_ns():x}",
            prompt=prompt.token_ids,
            sampling=self._prompts.sampling(turn, prompt),
            deadline_s=max(0.1, remaining - _JUDGE_RESERVE_S),
            caller=turn.request.caller,
        )
        asked = turn.request
        order = ReplyOrder(
            request, asked.text, piecewise, deadline_s=remaining + _JUDGE_RESERVE_S, begun=asked.begun, clock=turn.clock
        )
        return self._reply_to(order)

    def _reply_to(self, order: ReplyOrder) -> ReplyStream:
        return ReplyStream(
            self._with.engine,
            self._with.moderator,
            self._with.executor,
            cleaner=self._cleaner,
            ending=self._ending,
            order=order,
        )

    def _complete(self, turn: OpenTurn, result: TurnResult) -> None:
        turn.go_on()
        if turn.claim is not None:
            record = turn.record(turn.claim, result, self._clock(), self._versions())
            self._store.of(turn.request.owner).complete(turn.claim, record)

    def _versions(self) -> dict[str, str]:
        """What answers now; an index may be renewed while the server runs."""
        retriever = self._with.retriever
        index_version = "" if retriever is None else retriever.version
        return {"model": self._settings.model, "index_version": index_version}

    def _log_end(self, turn: OpenTurn, result: TurnResult) -> None:
        log.info(
            "turn.end id=%s reason=%s prompt=%d cached=%d new=%d sources=%d ms=%d",
            result.request_id,
            result.finish_reason,
            result.usage.prompt_tokens,
            result.usage.cached_tokens,
            result.usage.completion_tokens,
            len(result.sources),
            (time.monotonic() - turn.started) * 1000,
        )


def _events_of(turn: OpenTurn, reply: ReplyStream, piecewise: bool) -> Iterator[TurnEvent]:
    """A reply's pieces, marked where that was asked for, the sources before the first. Before that, the engine may
    still refuse, which is told as such.
    """
    sources = turn.sources if piecewise else ()
    marked = MarkedText(turn.citer()) if turn.request.cite else None
    for event in reply.pieces():
        if sources:
            yield FoundSources(sources)
            sources = ()
        if isinstance(event, KeepAlive) or marked is None:
            yield event
        elif text := marked.take(event.text):
            yield msgspec.structs.replace(event, text=text)
    if marked is not None and reply.verdict.blocked is None and (rest := marked.rest()):
        yield TextPiece(rest)


def _digest(session_id: str) -> str:
    """What stands for a session in names that may be logged: who reads a log cannot ask for the conversation."""
    return hashlib.sha256(session_id.encode()).hexdigest()[:8]
