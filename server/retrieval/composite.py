"""Several retrievers as one: asked at the same time, their ranks fused."""

from __future__ import annotations

import dataclasses
import logging
import time
from collections.abc import Mapping
from concurrent.futures import Future

from server.retrieval.guarded import MAX_THREADS, Guarded, outcome
from server.retrieval.query import Query
from server.retrieval.retriever import Embedder, Passage, RetrievalError, Retriever, embedder_of

log = logging.getLogger(__name__)

_RANK_OFFSET = 60  # of reciprocal-rank fusion: how little the first ranks differ
MEMBER_K = 10  # passages that each is asked for at least: what two rank low may be what both together rank first


class Composite:
    """Reciprocal-rank fusion over named retrievers. One that fails is left out; when all fail, the search does.

    Args:
        members: by name, which is logged when one fails.
        timeout_s: after which an answer is no longer waited for.
        max_threads: how many searches of one member run at once; each member has threads of its own.
    """

    def __init__(self, members: Mapping[str, Retriever], timeout_s: float, max_threads: int = MAX_THREADS) -> None:
        assert members
        self._members = {
            name: Guarded(name, member, timeout_s, max_threads=max_threads) for name, member in members.items()
        }
        self.timeout_s = timeout_s

    @property
    def embedder(self) -> Embedder | None:
        """That of the first member which has one."""
        return next(filter(None, map(embedder_of, self._members.values())), None)

    @property
    def version(self) -> str:
        """All members' versions."""
        return "+".join(member.version for member in self._members.values())

    def search(self, query: Query) -> list[Passage]:
        """The query's `k` passages that the members together rank first; the same text counts as one passage.

        Raises:
            RetrievalError: every member failed.
        """
        started = time.monotonic()
        wider = dataclasses.replace(query, k=max(query.k, MEMBER_K))
        searches = {name: member.start(wider) for name, member in self._members.items()}
        return _fused(_answers(searches, started, self.timeout_s))[: query.k]

    def info(self) -> dict[str, object]:
        """Every member's facts."""
        return {"version": self.version} | {name: member.info() for name, member in self._members.items()}

    def renew(self) -> None:
        """Let every member look for newer data."""
        for member in self._members.values():
            member.renew()

    def close(self) -> None:
        """Close every member."""
        for member in self._members.values():
            member.close()


def _answers(searches: dict[str, Future[list[Passage]]], started: float, timeout_s: float) -> list[list[Passage]]:
    answers, failures = [], []
    for name, search in searches.items():
        try:
            answers.append(outcome(name, search, started, timeout_s=timeout_s))
        except RetrievalError as error:
            failures.append(f"{name}: {error}")
    for failure in failures:
        log.warning("retriever.failed %s", failure)
    if not answers:
        raise RetrievalError("every retriever failed: " + "; ".join(failures))
    return answers


def _fused(answers: list[list[Passage]]) -> list[Passage]:
    """All passages with their fused scores, best first; 1 is first everywhere."""
    scores: dict[str, float] = {}
    passages: dict[str, Passage] = {}
    best = len(answers) / (_RANK_OFFSET + 1)
    for answer in answers:
        for rank, passage in enumerate(answer, start=1):
            passages.setdefault(passage.text, passage)
            scores[passage.text] = scores.get(passage.text, 0.0) + 1 / (_RANK_OFFSET + rank) / best
    ordered = sorted(passages.values(), key=lambda passage: -scores[passage.text])
    return [dataclasses.replace(passage, score=scores[passage.text]) for passage in ordered]
