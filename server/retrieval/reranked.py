"""A retriever whose passages a cross-encoder puts into order."""

from __future__ import annotations

import dataclasses

import numpy as np

from server.retrieval.encoder.reranker import Reranker
from server.retrieval.query import Query
from server.retrieval.retriever import Embedder, Passage, Retriever, embedder_of, renew

_LEAST_READ = 16  # passages: what is ranked lower is hardly ever the answer


class Reranked:
    """Asks for more passages than are wanted and gives those that the cross-encoder scores highest."""

    def __init__(self, retriever: Retriever, reranker: Reranker) -> None:
        self._retriever = retriever
        self._reranker = reranker

    @property
    def version(self) -> str:
        """The retriever's own: the order changes, not what can be found."""
        return self._retriever.version

    @property
    def embedder(self) -> Embedder | None:
        """The retriever's own."""
        return embedder_of(self._retriever)

    def search(self, query: Query) -> list[Passage]:
        """The best of what the retriever finds, with the cross-encoder's scores.

        Raises:
            RetrievalError: as the retriever's own.
        """
        found = self._retriever.search(dataclasses.replace(query, k=max(_LEAST_READ, query.k)))
        scores = self._reranker.scores(query.with_topic, [f"{each.title}. {each.text}" for each in found])
        order = np.argsort(-scores, kind="stable")[: query.k]
        return [dataclasses.replace(found[place], score=float(scores[place])) for place in order]

    def info(self) -> dict[str, object]:
        """The retriever's own."""
        return self._retriever.info()

    def renew(self) -> None:
        """Let the retriever look for newer data."""
        renew(self._retriever)

    def close(self) -> None:
        """Close the retriever."""
        self._retriever.close()
