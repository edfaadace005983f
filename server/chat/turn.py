"""One turn, from a question to a moderated, sourced and stored answer."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future
from contextlib import suppress
from dataclasses import dataclass, field

import msgspec

from server import wire
from server.chat.moderation import Moderator
from server.chat.passage_verdicts import PassageVerdicts
from server.chat.policy import Role
from server.chat.prompt import Prompt, PromptBuilder
from server.chat.records import Judgement, Session, Source, TextPiece, Turn, TurnEvent, TurnRequest, TurnResult, Usage
from server.chat.reply_stream import Generator, ReplyStream, ReplyVerdict
from server.chat.session_ids import new_session_id
from server.chat.store.store import Claim, SessionBusy, Store
from server.errors import ErrorCode, ServiceError
from server.retrieval.retriever import Passage, RetrievalError, Retriever

log = logging.getLogger(__name__)

STOP_STRINGS = ("\n<human>", "<human>")
_HOUR_S = 3600
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
    session_wait_s: float = 0.0
    max_turns: int = 200


@dataclass
class _Open:
    """A turn under way."""

    request: TurnRequest
    session: Session
    started: float
    claim: Claim | None = None
    moderation: dict[str, Judgement] = field(default_factory=dict)
    passages: list[Passage] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    usage: Usage = field(default_factory=Usage)

    @property
    def sources(self) -> tuple[Source, ...]:
        """The passages that stood in the prompt."""
        return tuple(
            Source(
                title=each.title,
                text=each.text,
                score=each.score,
                document_id=each.document_id,
                passage_id=each.passage_id,
                section=each.section,
                url=each.url,
            )
            for each in self.passages
        )


class TurnService:
    """Answers questions. Streaming and not, the reply takes the same way through moderation."""

    def __init__(
        self,
        engine: Generator,
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
        self._store = store
        self._moderator = moderator
        self._passage_verdicts = PassageVerdicts(moderator) if moderator and moderator.policy.passages else None
        self._retriever = retriever
        self._executor = executor
        self._settings = settings
        self._clock = clock
        self._ending = threading.Event()

    def answer(self, request: TurnRequest) -> TurnResult:
        """The whole answer at once. Raises ServiceError."""
        result = None
        for event in self._events(request, piecewise=False):
            if isinstance(event, TurnResult):
                result = event
        assert result is not None, "a turn ends with its result"
        return result

    def stream(self, request: TurnRequest) -> Iterator[TurnEvent]:
        """Checked text as it comes, keep-alives, and last the result. Closing the iterator cancels the turn.

        Raises:
            ServiceError: before the first event or in the middle; nothing is stored then.
        """
        return self._events(request, piecewise=True)

    def end_all(self) -> None:
        """End the turns under way with what they have; their finish reason is "shutdown"."""
        self._ending.set()

    def _events(self, request: TurnRequest, *, piecewise: bool) -> Iterator[TurnEvent]:
        self._prompts.check(request.text, request.sampling.max_new_tokens, request.system)
        turn = self._open(request)
        claim = self._executor.submit(self._claim, turn)
        stored = False
        try:
            judged = self._start_judging(turn)
            found = self._start_search(turn)
            turn.claim = claim.result()
            blocked = self._await_input_verdict(turn, judged)
            if blocked is not None:
                found.cancel()
                result = self._result(turn, blocked.message, "moderated_input")
            else:
                turn.passages = self._await_passages(turn, found)
                prompt = self._build(turn)
                turn.passages = turn.passages[: prompt.num_passages]
                reply = self._reply(turn, prompt, piecewise)
                yield from reply.pieces()
                result = self._finish(turn, prompt, reply.verdict)
                if reply.verdict.blocked is not None and piecewise:
                    yield TextPiece(result.outputs)
            self._complete(turn, result)
            stored = True
            self._log_end(turn, result)
            yield result
        finally:
            if not stored:
                self._give_back(claim)

    def _open(self, request: TurnRequest) -> _Open:
        started = time.monotonic()
        if request.history is not None:
            return _Open(request, Session(request.session_id or "", self._this_hour(), request.history), started)
        return _Open(request, self._load(request.session_id), started)

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

    def _claim(self, turn: _Open) -> Claim | None:
        """Take the session's next turn; while it is busy, wait for it as long as the settings allow."""
        if turn.request.history is not None:
            return None
        give_up = time.monotonic() + self._settings.session_wait_s
        while True:
            try:
                return self._store.claim(turn.session, self._settings.owner)
            except SessionBusy:
                if time.monotonic() >= give_up:
                    raise
            time.sleep(_BUSY_POLL_S)
            turn.session = self._load(turn.session.session_id)

    def _remaining_s(self, turn: _Open) -> float:
        return max(0.1, turn.request.deadline_s - (time.monotonic() - turn.started))

    def _start_judging(self, turn: _Open) -> Future[list[Judgement]] | None:
        """Judge the question, and what a client brings along as earlier questions or as instructions."""
        if self._moderator is None:
            return None
        brought = [each.user for each in turn.request.history or ()]
        texts = [text for text in (turn.request.system, *brought) if text.strip()]
        return self._executor.submit(
            self._moderator.judge, [*texts, turn.request.text], Role.INPUT, self._remaining_s(turn)
        )

    def _start_search(self, turn: _Open) -> Future[list[Passage]]:
        if self._retriever is None or not turn.request.retrieval:
            nothing: Future[list[Passage]] = Future()
            nothing.set_result([])
            return nothing
        settings = self._settings
        return self._executor.submit(
            self._retriever.search,
            turn.request.text,
            settings.search_k,
            settings.search_window,
            settings.search_threshold,
        )

    def _await_input_verdict(self, turn: _Open, judged: Future[list[Judgement]] | None) -> Judgement | None:
        """The verdict that blocks, or None."""
        if judged is None:
            return None
        verdicts = judged.result()
        verdict = next((each for each in verdicts if each.blocked), verdicts[-1])
        turn.moderation[Role.INPUT.value] = verdict
        return verdict if verdict.blocked else None

    def _await_passages(self, turn: _Open, found: Future[list[Passage]]) -> list[Passage]:
        """The passages, or none with a warning: an answer without a source beats no answer."""
        try:
            passages = found.result(timeout=self._settings.retrieval_timeout_s)
            return self._checked_passages(turn, passages)
        except (RetrievalError, TimeoutError) as error:
            found.cancel()
            log.warning("retrieval.failed id=%s error=%s", turn.request.request_id, error or type(error).__name__)
            turn.warnings.append("retrieval failed; the answer has no sources")
            return []

    def _checked_passages(self, turn: _Open, passages: list[Passage]) -> list[Passage]:
        if self._passage_verdicts is None or not passages:
            return passages
        kept = self._passage_verdicts.allowed(passages, self._remaining_s(turn))
        if len(kept) < len(passages):
            turn.warnings.append(f"{len(passages) - len(kept)} retrieved passages were withheld by the policy")
        return kept

    def _build(self, turn: _Open) -> Prompt:
        return self._prompts.build(
            turn.session.created_at,
            turn.session.turns,
            [each.text for each in turn.passages],
            turn.request.text,
            turn.request.sampling.max_new_tokens,
            system=turn.request.system,
        )

    def _reply(self, turn: _Open, prompt: Prompt, piecewise: bool) -> ReplyStream:
        sampling = turn.request.sampling
        remaining = self._remaining_s(turn)
        request = wire.Generate(
            request_id=f"{turn.request.request_id}-{turn.session.session_id[:8]}-{time.monotonic_ns():x}",
            prompt=prompt.token_ids,
            sampling=msgspec.structs.replace(sampling, stop=(*STOP_STRINGS, *sampling.stop)),
            deadline_s=max(0.1, remaining - _JUDGE_RESERVE_S),
        )
        return ReplyStream(
            self._engine,
            request,
            self._moderator,
            self._executor,
            self._ending,
            piecewise=piecewise,
            deadline_s=remaining + _JUDGE_RESERVE_S,
        )

    def _finish(self, turn: _Open, prompt: Prompt, verdict: ReplyVerdict) -> TurnResult:
        if verdict.judgement is not None:
            turn.moderation[Role.OUTPUT.value] = verdict.judgement
        turn.usage = Usage(
            prompt_tokens=verdict.finished.num_prompt_tokens,
            cached_tokens=verdict.finished.num_cached_tokens,
            completion_tokens=verdict.finished.num_new_tokens,
            dropped_turns=prompt.num_dropped_turns,
            passage_tokens=prompt.num_passage_tokens,
        )
        if verdict.blocked is not None:
            return self._result(turn, verdict.blocked.message, "moderated_output")
        return self._result(turn, verdict.text, verdict.finished.reason)

    def _result(self, turn: _Open, outputs: str, reason: str) -> TurnResult:
        return TurnResult(
            request_id=turn.request.request_id,
            outputs=outputs,
            session_id=turn.session.session_id,
            finish_reason=reason,
            sources=() if reason.startswith("moderated") else turn.sources,
            moderation=turn.moderation,
            usage=turn.usage,
            warnings=tuple(turn.warnings),
            turn=0 if turn.claim is None else turn.claim.turn,
        )

    def _complete(self, turn: _Open, result: TurnResult) -> None:
        if turn.claim is None:
            return
        record = Turn(
            turn=turn.claim.turn,
            user=turn.request.text,
            reply=result.outputs,
            finish_reason=result.finish_reason,
            created_at=self._clock(),
            sources=result.sources,
            labels={role: each.label for role, each in result.moderation.items()},
            usage=result.usage,
            model=self._settings.model,
            index_version=self._settings.index_version,
        )
        self._store.complete(turn.claim, record)

    def _give_back(self, claim: Future[Claim | None]) -> None:
        with suppress(ServiceError):  # the error that ended the turn is the one to report
            held = claim.result()
            if held is not None:
                self._store.release(held)

    def _log_end(self, turn: _Open, result: TurnResult) -> None:
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
