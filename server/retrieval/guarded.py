"""One retriever behind a boundary: whatever it does, a search ends in time, with passages or a RetrievalError."""

from __future__ import annotations

import dataclasses
import logging
import time
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as FutureTimeoutError

from server.retrieval.query import Query
from server.retrieval.retriever import Embedder, Passage, RetrievalError, Retriever, embedder_of, renew

log = logging.getLogger(__name__)

MAX_THREADS = 32
# Of a passage, whatever a retriever gives: it is judged, sent and stored, and more of it would be in no prompt.
MAX_TEXT_CHARS = 32_768
MAX_TITLE_CHARS = 512  # of its title, section and ids
MAX_URL_CHARS = 2048


class Guarded:
    """A retriever that anyone may have written, searched in threads of its own: one that hangs holds up only itself.

    Args:
        name: is logged when it fails.
        timeout_s: after which its answer is no longer waited for.
        max_threads: how many searches run at once.
    """

    def __init__(self, name: str, retriever: Retriever, timeout_s: float, max_threads: int = MAX_THREADS) -> None:
        self.name = name
        self._retriever = retriever
        self._timeout_s = timeout_s
        self._pool = ThreadPoolExecutor(max_threads, f"retriever-{name}")

    @property
    def embedder(self) -> Embedder | None:
        """The retriever's own, where it has one."""
        return embedder_of(self._retriever)

    @property
    def version(self) -> str:
        """The retriever's own; its name and "unknown" when it cannot say."""
        try:
            return str(self._retriever.version)
        except Exception as error:  # noqa: BLE001 - the edge to code that anyone may have written
            log.error("retriever.broken name=%s error=%s", self.name, type(error).__name__)
            return f"{self.name}/unknown"

    def search(self, query: Query) -> list[Passage]:
        """The retriever's passages.

        Raises:
            RetrievalError: it failed in any way, took too long, or gave something else than passages.
        """
        started = time.monotonic()
        return outcome(self.name, self.start(query), started, timeout_s=self._timeout_s)

    def start(self, query: Query) -> Future[list[Passage]]:
        """A search that goes on while the caller does something else; `outcome` waits for it.

        Raises:
            RetrievalError: after `close`.
        """
        try:
            return self._pool.submit(self._search, query)
        except RuntimeError as error:
            raise RetrievalError(f"{self.name} is closed") from error

    def _search(self, query: Query) -> list[Passage]:
        """What the retriever finds, but for what the query's filter leaves out: not every retriever looks at it."""
        passages = self._retriever.search(query)
        if query.only is None or not isinstance(passages, list):
            return passages
        return [each for each in passages if query.only.takes(each.document_id, each.title, each.section, each.url)]

    def info(self) -> dict[str, object]:
        """The retriever's own."""
        return self._retriever.info()

    def renew(self) -> None:
        """Let the retriever look for newer data."""
        renew(self._retriever)

    def close(self) -> None:
        """Close the retriever; a search that hangs is left behind."""
        self._pool.shutdown(wait=False, cancel_futures=True)
        self._retriever.close()


def outcome(name: str, search: Future[list[Passage]], started: float, timeout_s: float) -> list[Passage]:
    """What `search` of the retriever `name` gives within `timeout_s` seconds after `started`.

    Raises:
        RetrievalError: whatever went wrong; an error that no retriever should raise is logged with its type.
    """
    try:
        passages = search.result(max(0.0, started + timeout_s - time.monotonic()))
    except RetrievalError:
        raise
    except FutureTimeoutError as error:
        if search.done():  # it ended with a TimeoutError of its own
            raise _unforeseen(name, error) from error
        search.cancel()
        raise RetrievalError(f"no answer within {timeout_s:g} s") from error
    except Exception as error:
        raise _unforeseen(name, error) from error
    if not isinstance(passages, list) or not all(isinstance(passage, Passage) for passage in passages):
        log.error("retriever.broken name=%s answer=%s", name, type(passages).__name__)
        raise RetrievalError("the answer is no list of passages")
    try:
        return [_cut(passage) for passage in passages]
    except TypeError as error:  # a field that is no text
        raise _unforeseen(name, error) from error


def _cut(passage: Passage) -> Passage:
    """`passage` with what is legal of it; a url that is longer leads nowhere when it is cut, and is left out."""
    named = {
        name: getattr(passage, name)[:MAX_TITLE_CHARS] for name in ("title", "section", "document_id", "passage_id")
    }
    url = passage.url if len(passage.url) <= MAX_URL_CHARS else ""
    return dataclasses.replace(passage, text=passage.text[:MAX_TEXT_CHARS], url=url, **named)


def _unforeseen(name: str, error: Exception) -> RetrievalError:
    # The text of an error may hold an address, and an address a key: the traceback is for debugging only.
    log.error("retriever.broken name=%s error=%s", name, type(error).__name__)
    log.debug("retriever.broken name=%s", name, exc_info=error)
    return RetrievalError(f"it raised {type(error).__name__}")
