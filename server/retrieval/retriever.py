"""What every retriever is and gives."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

from server.retrieval.query import Query


class RetrievalError(Exception):
    """A search or an index that fails; one sentence. The turn goes on without passages."""


@dataclass(frozen=True)
class Passage:
    """A piece of a document that answers a query, grown by its neighbours.

    Attributes:
        score: at most 1, larger is better: for an index the cosine similarity to the query moved towards 1 by the
            words they share, for a composite the fused rank score.
        url: where the document can be read; empty when unknown.
    """

    passage_id: str
    document_id: str
    title: str
    section: str
    text: str
    score: float
    url: str


class Embedder(Protocol):
    """Texts as unit vectors, by a retriever's encoder. Called from many threads at once."""

    @property
    def encoder_name(self) -> str:
        """A folder or a hub id."""
        ...

    @property
    def dimension(self) -> int:
        """Length of a vector."""
        ...

    def embed(self, texts: Sequence[str]) -> tuple[NDArray[np.float32], int]:  # [num_texts, dimension]
        """The vectors, in order, and how many tokens were read for them. Raises RetrievalError."""
        ...


class Retriever(Protocol):
    """A source of passages. `search` is called from many threads at once."""

    @property
    def version(self) -> str:
        """What answered: name, version and checksum, stored with every turn."""
        ...

    def search(self, query: Query) -> list[Passage]:
        """At most `query.k` passages, best first; none when nothing is relevant.

        Raises:
            RetrievalError: nothing can be searched now.
        """
        ...

    def info(self) -> dict[str, object]:
        """Facts for the readiness page: counts, encoder, settings."""
        ...

    def close(self) -> None:
        """Release files and threads; no search may follow."""
        ...


def renew(retriever: Retriever | None) -> None:
    """Let a retriever that has a method `renew` look for newer data now; it searches on meanwhile."""
    look: Callable[[], None] = getattr(retriever, "renew", lambda: None)
    look()


def embedder_of(retriever: Retriever | None) -> Embedder | None:
    """The encoder of a retriever that has one to lend, as its attribute `embedder`."""
    found: Embedder | None = getattr(retriever, "embedder", None)
    return found
