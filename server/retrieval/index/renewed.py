"""An index that a newer one takes the place of while it is searched: no search fails, none mixes the two."""

from __future__ import annotations

import logging
import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from server.artifacts.folder import MANIFEST
from server.retrieval.index.retriever import IndexRetriever
from server.retrieval.query import Query
from server.retrieval.retriever import Embedder, Passage

log = logging.getLogger(__name__)

_END_S = 2.0
Identity = tuple[str, int, int]


class RenewedIndex:
    """The index that `find` finds, opened anew when it has become another; searches under way end on the earlier one.

    A newer index that cannot be opened is logged once, and the earlier one goes on.

    Args:
        find: the folder of the newest index now; it may fetch it.
        opened: opens one, with the encoder that all share.
        poll_s: seconds between two looks; 0: only when `renew` asks.
        cache: where fetched indexes lie; one that is not searched any more is deleted from it.

    Raises:
        RetrievalError: there is no index, or it cannot be opened.
    """

    def __init__(
        self, find: Callable[[], Path], opened: Callable[[Path], IndexRetriever], poll_s: float, cache: Path
    ) -> None:
        self._find = find
        self._opened = opened
        self._cache = cache
        self._lock = threading.Lock()
        folder = find()
        self._seen = _identity(folder)  # what was last opened, or could not be
        self._current = _Held(folder, opened(folder))
        self._complaint = ""
        self._wake, self._closed = threading.Event(), threading.Event()
        self._watcher = threading.Thread(target=self._watch, args=(poll_s or None,), daemon=True, name="index-renewal")
        self._watcher.start()

    @property
    def version(self) -> str:
        """That of the index that the next search is made in."""
        return self._current.index.version

    @property
    def embedder(self) -> Embedder:
        """The encoder, which stays the same."""
        return self._current.index.embedder

    def search(self, query: Query) -> list[Passage]:
        """The passages of the newest index that is open; raises as it does."""
        with self._held() as index:
            return index.search(query)

    def info(self) -> dict[str, object]:
        """The index's own."""
        with self._held() as index:
            return index.info()

    def renew(self) -> None:
        """Look for a newer index soon, in a thread of its own."""
        self._wake.set()

    def close(self) -> None:
        """End the looking, then close the index."""
        self._closed.set()
        self._wake.set()
        self._watcher.join(_END_S)  # it may be fetching an index; its process does not wait for it
        self._current.index.close()

    @contextmanager
    def _held(self) -> Iterator[IndexRetriever]:
        with self._lock:
            held = self._current
            held.num_users += 1
        try:
            yield held.index
        finally:
            with self._lock:
                held.num_users -= 1
                is_last = held is not self._current and not held.num_users
            if is_last:
                self._let_go(held)

    def _watch(self, poll_s: float | None) -> None:
        while not self._closed.is_set():
            self._wake.wait(poll_s)
            self._wake.clear()
            if not self._closed.is_set():
                self._look()

    def _look(self) -> None:
        try:
            folder = self._find()
            identity = _identity(folder)
            if identity == self._seen:
                return
            self._seen = identity
            self._swap(_Held(folder, self._opened(folder)))
        except Exception as error:  # noqa: BLE001 - whatever a newer index is like, the earlier one goes on
            self._complain(str(error) or type(error).__name__)
        else:
            self._complaint = ""

    def _swap(self, fresh: _Held) -> None:
        if self._closed.is_set():
            fresh.index.close()
            return
        with self._lock:
            before, self._current = self._current, fresh
            is_unused = not before.num_users
        log.info("index.swap from=%s to=%s", before.index.version, fresh.index.version)
        if is_unused:
            self._let_go(before)

    def _let_go(self, held: _Held) -> None:
        """Close an index that nobody searches any more, and delete what was fetched for it."""
        held.index.close()
        if held.folder != self._current.folder and held.folder.is_relative_to(self._cache):
            shutil.rmtree(held.folder, ignore_errors=True)

    def _complain(self, sentence: str) -> None:
        if sentence != self._complaint:
            log.warning("index.renewal failed, %s stays: %s", self.version, sentence)
            self._complaint = sentence


class _Held:
    """An open index, its folder, and how many searches are under way in it."""

    def __init__(self, folder: Path, index: IndexRetriever) -> None:
        self.folder = folder
        self.index = index
        self.num_users = 0


def _identity(folder: Path) -> Identity:
    """Changes when another index takes the place: manifests are renamed into place, never written over."""
    facts = (folder / MANIFEST).stat()
    return str(folder), facts.st_ino, facts.st_mtime_ns
