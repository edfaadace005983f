"""Results that were fetched lately."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable

from server.retrieval.retriever import Passage

Key = tuple[str, int]


class ResultCache:
    """The results of the last `max_entries` questions, for `ttl_s` seconds. Safe to use from many threads."""

    def __init__(self, max_entries: int, ttl_s: float, clock: Callable[[], float]) -> None:
        self._max_entries = max_entries
        self._ttl_s = ttl_s
        self._clock = clock
        self._lock = threading.Lock()
        self._entries: OrderedDict[Key, tuple[float, list[Passage]]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._entries)

    def find(self, key: Key) -> list[Passage] | None:
        """The results put for `key`, None when there are none that are young enough."""
        with self._lock:
            entry = self._entries.get(key)
            if entry is None or self._clock() - entry[0] > self._ttl_s:
                return None
            self._entries.move_to_end(key)
            return entry[1]

    def put(self, key: Key, passages: list[Passage]) -> None:
        """Keep the results for `key`; the one asked for longest ago makes room."""
        with self._lock:
            self._entries[key] = (self._clock(), passages)
            self._entries.move_to_end(key)
            while len(self._entries) > self._max_entries:
                self._entries.popitem(last=False)
