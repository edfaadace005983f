"""The passages of a turn."""

from __future__ import annotations

import logging
from concurrent.futures import Executor, Future
from dataclasses import dataclass, replace

from server.chat.records.phases import SEARCH
from server.chat.records.turn_records import Session
from server.chat.turn_in_progress import OpenTurn, settled
from server.chat.turn_judge import TurnJudge
from server.chat.turn_rewrite import StandaloneQuestions
from server.errors import ErrorCode, ServiceError
from server.retrieval.query import Exchange, Query
from server.retrieval.retriever import Passage, RetrievalError, Retriever

log = logging.getLogger(__name__)

_SHARE = 0.5  # of what is left of a deadline; the rest is for an answer without sources
_NOTHING_FOUND = 'retrieval is "required", and no passage was found: the search failed, or the filter leaves none'
_EXCHANGES = 8  # earlier turns that a search may look at
_REPLY_CHARS = 400  # of each of their replies


@dataclass(frozen=True)
class SearchSettings:
    """How a turn searches where its request does not say."""

    k: int = 1
    window: int = 5
    threshold: float = 0.5
    timeout_s: float = 5.0
    rewrite_s: float = 0.0  # how long the chat model may take to write a question out; 0: it is not asked to


class TurnSearch:
    """Searches with `retriever`; without one, nothing is found. What is found, `judge` looks at."""

    def __init__(
        self,
        retriever: Retriever | None,
        executor: Executor,
        judge: TurnJudge,
        questions: StandaloneQuestions,
        settings: SearchSettings,
    ) -> None:
        self._retriever = retriever
        self._executor = executor
        self._judge = judge
        self._questions = questions
        self._settings = settings

    def start(self, turn: OpenTurn) -> Future[list[Passage]]:
        """Search for what the question of `turn` is about, as the conversation before it says."""
        if self._retriever is None or not turn.request.retrieval:
            return nothing_found()
        settings, wish = self._settings, turn.request.search
        query = Query(
            turn.request.text,
            wish.k or settings.k,
            settings.window,
            threshold=settings.threshold,
            earlier=_exchanges(turn.session),
            required=wish.required,
            only=wish.only,
        )
        return self._executor.submit(turn.clock.timed(SEARCH, self._searched), self._retriever, turn, query)

    def _searched(self, retriever: Retriever, turn: OpenTurn, query: Query) -> list[Passage]:
        if self._settings.rewrite_s:
            query = replace(query, standalone=self._questions.of(turn))
        return retriever.search(query)

    @staticmethod
    def found_nothing(found: Future[list[Passage]]) -> bool:
        """Whether it is over, and without a passage: `wait` then waits for nothing."""
        return found.done() and not found.cancelled() and (found.exception() is not None or not found.result())

    def wait(self, turn: OpenTurn, found: Future[list[Passage]]) -> list[Passage]:
        """The passages, or none with a warning: an answer without a source beats no answer, unless one is required.

        Raises:
            ServiceError: RETRIEVAL_UNAVAILABLE.
        """
        try:
            found_passages = found.result(timeout=min(self._settings.timeout_s, _SHARE * turn.remaining_s))
            passages = self._judge.allowed(turn, found_passages)
        except (RetrievalError, TimeoutError) as error:
            found.cancel()
            log.warning("retrieval.failed id=%s error=%s", turn.request.request_id, error or type(error).__name__)
            turn.warnings.append("retrieval failed; the answer has no sources")
            passages = []
        if turn.request.search.required and not passages:
            raise ServiceError(ErrorCode.RETRIEVAL_UNAVAILABLE, _NOTHING_FOUND, field="parameters.retrieval")
        return passages


def _exchanges(session: Session) -> tuple[Exchange, ...]:
    """The conversation as a search sees it: what was refused is no part of it, as it is none of the prompt."""
    return tuple(
        Exchange(turn.user, tuple(source.title for source in turn.sources), reply=turn.reply[:_REPLY_CHARS])
        for turn in session.turns[-_EXCHANGES:]
        if not turn.finish_reason.startswith("moderated")
    )


def nothing_found() -> Future[list[Passage]]:
    """What is not searched for is there at once, and empty."""
    return settled([])
