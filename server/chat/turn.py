"""One turn, from a question to a moderated, sourced and stored answer."""

from __future__ import annotations

import hashlib
import logging
import threading
import time
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import Executor, Future
from contextlib import closing
from dataclasses import dataclass, replace
from typing import TypeVar

import msgspec

from server import wire
from server.chat.moderation.history_verdicts import HistoryVerdicts, RequestVerdict
from server.chat.moderation.moderator import Moderator
from server.chat.moderation.passage_verdicts import PassageVerdicts
from server.chat.moderation.policy import Role
from server.chat.prompt.prompt import Prompt, PromptBuilder
from server.chat.records.phases import CLAIM, JUDGE, SEARCH, STORE
from server.chat.records.session_ids import new_session_id
from server.chat.records.turn_records import (
    FoundSources,
    Judgement,
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
from server.chat.store.rows import check_question
from server.chat.store.store import Claim, SessionBusy, Store
from server.chat.text.normal import normalise
from server.chat.turn_in_progress import OpenTurn, cancelled_error
from server.chat.turns_under_way import TurnsUnderWay
from server.errors import ErrorCode, ServiceError
from server.retrieval.query import Exchange, Query
from server.retrieval.retriever import Passage, RetrievalError, Retriever

T = TypeVar("T")

log = logging.getLogger(__name__)

_HOUR_S = 3600
_NOTHING_FOUND = 'retrieval is "required", and no passage was found: the search failed, or the filter leaves none'
_EXCHANGES = 8  # earlier turns that a search may look at
_BUSY_POLL_S = 0.1
_JUDGE_RESERVE_S = 2.0  # of a request's deadline, kept for the verdict on the reply


@dataclass(frozen=True)
class TurnSettings:
    """What a turn takes from the configuration."""

    model: str
    owner: str  # this front's name for its claims: the same after a restart, different from any other live front's
    index_version: str = ""
    search_k: int = 1
    search_window: int = 5
    search_threshold: float = 0.5
    retrieval_timeout_s: float = 5.0
    require_session: bool = False
    judge_before_search: bool = False  # a question that leaves the house is judged before it does
    session_wait_s: float = 0.0
    system_prompt: str = ""  # the deployment's instructions, before anybody's own
    max_turns: int = 200


class TurnService:
    """Answers questions. Streaming and not, the reply takes the same way through moderation."""

    def __init__(
        self,
        engine: ReplyEngine,
        prompts: PromptBuilder,
        store: Store,
        moderator: Moderator | None,
        retriever: Retriever | None,
        executor: Executor,
        settings: TurnSettings,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._engine = engine
        self._prompts = prompts
        self._cleaner = ReplyCleaner(prompts.chat_format)
        self._store = store
        self._moderator = moderator
        self._history_verdicts = HistoryVerdicts(moderator) if moderator else None
        self._passage_verdicts = PassageVerdicts(moderator) if moderator else None
        self._retriever = retriever
        self._executor = executor
        self._settings = settings
        self._clock = clock
        self._versions = {"model": settings.model, "index_version": settings.index_version}
        self._ending = threading.Event()
        self._under_way = TurnsUnderWay()

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

    def cancel(self, session_id: str | None = None, request_id: str | None = None) -> int:
        """End the turns of a session, or of one HTTP call, at once; the session is free for the next question.

        Nothing of them is stored. How many were under way.
        """
        turns = self._under_way.of(session_id, request_id)
        for turn in turns:
            turn.cancel()
            if turn.claim is not None:
                self._store.release(turn.claim)
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
        self._check(_normalised(request))

    def _check(self, request: TurnRequest) -> None:
        if not request.text:
            raise ServiceError(ErrorCode.INVALID_FIELD, "the question must hold visible text", field="inputs")
        if request.as_written:
            self._prompts.as_written(request.text, 1 if request.clamp else request.sampling.max_new_tokens)
            return
        least = 1 if request.clamp else request.sampling.max_new_tokens
        system = self._instructions(request, "")
        self._prompts.check(request.text, least + len(self._prompts.begun(request.begun)), system)
        if request.history is None:
            check_question(request.text)

    def end_all(self) -> None:
        """End the turns under way with what they have; their finish reason is "shutdown"."""
        self._ending.set()

    def _instructions(self, request: TurnRequest, of_session: str) -> str:
        """What the deployment says, then what the request says, or the session where the request says nothing."""
        return "\n\n".join(filter(None, (self._settings.system_prompt, request.system or of_session)))

    def _events(self, request: TurnRequest, *, piecewise: bool) -> Generator[TurnEvent]:
        request = self._as_judged(request)
        self._check(request)
        turn = OpenTurn(request, system=self._instructions(request, ""))
        with self._under_way.noted(turn):
            yield from self._answered(turn, piecewise)

    def _answered(self, turn: OpenTurn, piecewise: bool) -> Iterator[TurnEvent]:
        request = turn.request
        if request.history is not None:
            turn.session = Session(request.session_id or "", self._this_hour(), request.history)
        # The store's answers are waited for while the question is judged.
        judged = self._start_judging(turn)
        found: Future[list[Passage]] = _nothing()
        stored = False
        try:
            if request.history is None:
                turn.clock.begin(CLAIM)
                self._open(turn, request.session_id)
            # A turn that another request adds while the session is busy is the next question's to know.
            if not self._settings.judge_before_search:
                found = self._start_search(turn)
            if request.history is None:
                turn.claim = self._claim(turn)
                if turn.claim is None:
                    result = turn.answered_before()
                    assert result is not None, "what is not claimed was answered before"
                    yield result
                    return
                turn.clock.end(CLAIM)
            turn.go_on()
            blocked = self._await_input_verdict(turn, judged)
            if blocked is None and self._settings.judge_before_search:
                found = self._start_search(turn)
            if blocked is not None:
                result = turn.result(blocked.message, "moderated_input")
            else:
                turn.passages = self._await_passages(turn, found)
                turn.go_on()
                prompt = self._build(turn)
                turn.passages = turn.passages[: prompt.num_passages]
                reply = turn.reply = self._reply(turn, prompt, piecewise)
                if turn.preface and piecewise:
                    yield TextPiece(turn.preface)
                yield from _events_of(turn, reply, piecewise)
                result = turn.finish(prompt, reply.verdict)
                if reply.verdict.judgement is not None:
                    self._note(turn, Role.OUTPUT, reply.verdict.judgement, text=reply.verdict.text)
                if reply.verdict.blocked is not None and piecewise:
                    yield TextPiece(result.outputs)
            with turn.clock.phase(STORE):
                self._complete(turn, result)
            stored = True
            result = msgspec.structs.replace(result, phases=turn.clock.phases)
            self._log_end(turn, result)
            yield turn.shown(result)
        finally:
            # What is still under way for a turn that ended early is ignored when it comes.
            judged.cancel()
            found.cancel()
            if turn.claim is not None and not stored:
                self._store.release(turn.claim)

    def _this_hour(self) -> float:
        """When a conversation that its client keeps is said to have begun: its prompts then share their first lines."""
        return self._clock() // _HOUR_S * _HOUR_S

    def _load(self, session_id: str | None) -> Session:
        session = None if session_id is None else self._store.load(session_id, self._settings.max_turns)
        if session is None and session_id is not None and self._settings.require_session:
            raise ServiceError(
                ErrorCode.SESSION_NOT_FOUND,
                f"session_id={session_id!r}: no such session, or it has expired",
                field="parameters.session_id",
            )
        return session or Session(session_id or new_session_id(), self._clock())

    def _open(self, turn: OpenTurn, session_id: str | None) -> None:
        """Load the conversation as the question goes on from it."""
        turn.session = self._load(session_id)
        turn.system = self._instructions(turn.request, turn.session.system)
        if turn.request.replaces is not None and turn.answered_before() is None:
            turn.replace(turn.request.replaces)

    def _claim(self, turn: OpenTurn) -> Claim | None:
        """Take the session's next turn; while it is busy, wait as long as the settings and the deadline allow.

        None when this very request was answered before.
        """
        give_up = time.monotonic() + min(self._settings.session_wait_s, turn.remaining_s)
        while turn.answered_before() is None:
            try:
                return self._store.claim(turn.session, self._settings.owner)
            except SessionBusy:
                left_s = give_up - time.monotonic()
                if left_s <= 0:
                    raise
            turn.go_on()
            time.sleep(min(_BUSY_POLL_S, left_s))
            self._open(turn, turn.session.session_id)
        return None

    def _as_judged(self, request: TurnRequest) -> TurnRequest:
        """`request` with its texts as they are judged, prompted, searched for and stored."""
        request = _normalised(request)
        if self._moderator is None or not self._moderator.policy.judges:
            return request
        masked = self._moderator.masked
        history = request.history and tuple(
            msgspec.structs.replace(turn, user=masked(turn.user, Role.INPUT), reply=masked(turn.reply, Role.OUTPUT))
            for turn in request.history
        )
        return msgspec.structs.replace(
            request,
            text=masked(request.text, Role.INPUT),
            system=masked(request.system, Role.SYSTEM),
            history=history,
        )

    def _start_judging(self, turn: OpenTurn) -> Future[RequestVerdict | None]:
        """Judge the question, with what a client brings along."""
        if self._history_verdicts is None:
            return _settled(None)
        # Turns that do not fit the window even where no passage takes room from them never enter a prompt.
        if turn.request.history:
            turn.session = _without_oldest(turn.session, self._build(turn).num_dropped_turns)
        turns = turn.session.turns if turn.request.history else ()
        judge = turn.clock.timed(JUDGE, self._history_verdicts.judge_request)
        return self._executor.submit(judge, turn.request, turns, turn.remaining_s)

    def _start_search(self, turn: OpenTurn) -> Future[list[Passage]]:
        if self._retriever is None or not turn.request.retrieval:
            return _nothing()
        settings, wish = self._settings, turn.request.search
        query = Query(
            turn.request.text,
            wish.k or settings.search_k,
            settings.search_window,
            threshold=settings.search_threshold,
            earlier=_exchanges(turn.session),
            required=wish.required,
            only=wish.only,
        )
        return self._executor.submit(turn.clock.timed(SEARCH, self._retriever.search), query)

    def _await_input_verdict(self, turn: OpenTurn, judged: Future[RequestVerdict | None]) -> Judgement | None:
        """The verdict that blocks, or None; turns that the client brought and the policy blocks are left out."""
        verdict = judged.result()
        if verdict is None:
            return None
        turn.moderation[Role.INPUT.value] = verdict.question
        if verdict.system is not None:
            turn.moderation[Role.SYSTEM.value] = verdict.system
        turn.withhold(verdict.withheld)
        self._note(turn, Role.INPUT, verdict.question, text=turn.request.text)
        if verdict.system is not None:
            self._note(turn, Role.SYSTEM, verdict.system, text=turn.request.system)
        if self._moderator is not None and verdict.question.caution:
            turn.take_care(self._moderator.policy.rule(Role.INPUT))
        return verdict.blocking

    def _note(self, turn: OpenTurn, role: Role, verdict: Judgement, text: str) -> None:
        if self._moderator is not None:
            self._moderator.note(turn.request.request_id, role, verdict, text)

    def _await_passages(self, turn: OpenTurn, found: Future[list[Passage]]) -> list[Passage]:
        """The passages, or none with a warning: an answer without a source beats no answer, unless one is required.

        Raises:
            ServiceError: RETRIEVAL_UNAVAILABLE.
        """
        try:
            found_passages = found.result(timeout=self._settings.retrieval_timeout_s)
            passages = self._checked_passages(turn, found_passages)
        except (RetrievalError, TimeoutError) as error:
            found.cancel()
            log.warning("retrieval.failed id=%s error=%s", turn.request.request_id, error or type(error).__name__)
            turn.warnings.append("retrieval failed; the answer has no sources")
            passages = []
        if turn.request.search.required and not passages:
            raise ServiceError(ErrorCode.RETRIEVAL_UNAVAILABLE, _NOTHING_FOUND, field="parameters.retrieval")
        return passages

    def _checked_passages(self, turn: OpenTurn, passages: list[Passage]) -> list[Passage]:
        if self._passage_verdicts is None or not passages:
            return passages
        kept = self._passage_verdicts.allowed(passages, turn.remaining_s)
        if len(kept) < len(passages):
            turn.warnings.append(f"{len(passages) - len(kept)} retrieved passages were withheld by the policy")
        return kept

    def _build(self, turn: OpenTurn) -> Prompt:
        request = turn.request
        if request.as_written:
            return self._prompts.as_written(request.text, self._reserved(turn))
        begun = self._prompts.begun(request.begun)
        prompt = self._prompts.build(
            turn.session.created_at,
            turn.session.turns,
            [each.text for each in turn.passages],
            request.text,
            self._reserved(turn) + len(begun),
            system="\n".join(filter(None, (turn.system, turn.instructions))),
        )
        return replace(prompt, token_ids=(*prompt.token_ids, *begun))

    def _reserved(self, turn: OpenTurn) -> int:
        """Tokens of the window that are kept free for the reply."""
        request, wish = turn.request, turn.request.sampling.max_new_tokens
        if not request.clamp:
            return wish
        if request.as_written:
            return 1
        return self._prompts.reserved(turn.session.created_at, (turn.system, request.text, request.begun), wish)

    def _sampling(self, turn: OpenTurn, prompt: Prompt) -> wire.Sampling:
        """As asked for, with the ends of a reply and no more tokens than are left."""
        asked = turn.request.sampling
        ends = () if turn.request.as_written else self._prompts.chat_format.ends
        room = self._prompts.room_for_reply(prompt)
        most = min(asked.max_new_tokens, room) if turn.request.clamp else asked.max_new_tokens
        end_tokens = () if turn.request.as_written else self._prompts.end_token_ids
        stop = (*ends, *asked.stop)
        least = min(asked.min_tokens, most) if turn.request.clamp else asked.min_tokens
        return msgspec.structs.replace(
            asked, stop=stop, stop_token_ids=end_tokens, max_new_tokens=most, min_tokens=least
        )

    def _reply(self, turn: OpenTurn, prompt: Prompt, piecewise: bool) -> ReplyStream:
        remaining = turn.remaining_s
        request = wire.Generate(
            request_id=f"{turn.request.request_id}-{_digest(turn.session.session_id)}-{time.monotonic_ns():x}",
            prompt=prompt.token_ids,
            sampling=self._sampling(turn, prompt),
            deadline_s=max(0.1, remaining - _JUDGE_RESERVE_S),
            caller=turn.request.request_id,  # many inputs of one call take turns with other calls
        )
        asked = turn.request
        order = ReplyOrder(
            request, asked.text, piecewise, deadline_s=remaining + _JUDGE_RESERVE_S, begun=asked.begun, clock=turn.clock
        )
        return ReplyStream(
            self._engine, self._moderator, self._executor, cleaner=self._cleaner, ending=self._ending, order=order
        )

    def _complete(self, turn: OpenTurn, result: TurnResult) -> None:
        turn.go_on()
        if turn.claim is not None:
            self._store.complete(turn.claim, turn.record(turn.claim, result, self._clock(), self._versions))

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


def _normalised(request: TurnRequest) -> TurnRequest:
    """`request` with its texts as they are judged, prompted, searched for and stored."""
    history = request.history and tuple(
        msgspec.structs.replace(turn, user=normalise(turn.user), reply=normalise(turn.reply))
        for turn in request.history
    )
    return msgspec.structs.replace(
        request,
        text=normalise(request.text),
        system=normalise(request.system),
        history=history,
        begun=normalise(request.begun),
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
            yield TextPiece(text)
    if marked is not None and reply.verdict.blocked is None and (rest := marked.rest()):
        yield TextPiece(rest)


def _exchanges(session: Session) -> tuple[Exchange, ...]:
    """The conversation as a search sees it: what was refused is no part of it, as it is none of the prompt."""
    return tuple(
        Exchange(turn.user, tuple(source.title for source in turn.sources))
        for turn in session.turns[-_EXCHANGES:]
        if not turn.finish_reason.startswith("moderated")
    )


def _digest(session_id: str) -> str:
    """What stands for a session in names that may be logged: who reads a log cannot ask for the conversation."""
    return hashlib.sha256(session_id.encode()).hexdigest()[:8]


def _without_oldest(session: Session, num_dropped: int) -> Session:
    """`session` without the turns that never enter its prompt; the newest one tells how many are missing."""
    kept = [turn for turn in session.turns if turn.turn > num_dropped]
    if kept and num_dropped:
        usage = msgspec.structs.replace(kept[-1].usage, dropped_turns=num_dropped)
        kept[-1] = msgspec.structs.replace(kept[-1], usage=usage)
    return msgspec.structs.replace(session, turns=tuple(kept))


def _nothing() -> Future[list[T]]:
    """What is not asked for is there at once, and empty."""
    return _settled([])


def _settled(value: T) -> Future[T]:
    """What is there at once."""
    future: Future[T] = Future()
    future.set_result(value)
    return future
