"""Verdicts that are kept, so that what comes again is not judged again."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Hashable, Iterable, Mapping
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class VerdictCache(Generic[K, V]):
    """At most `limit` verdicts; the one used longest ago is forgotten first. Thread-safe."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._kept: OrderedDict[K, V] = OrderedDict()
        self._policy: object = None
        self._lock = threading.Lock()

    def keep_for(self, policy: object) -> None:
        """Forget all verdicts that another policy gave."""
        with self._lock:
            if policy is not self._policy:
                self._kept.clear()
                self._policy = policy

    def recall(self, keys: Iterable[K]) -> dict[K, V]:
        """Those of `keys` that are kept. The caller holds on to them: the next call may find them gone."""
        with self._lock:
            found = {key: self._kept[key] for key in keys if key in self._kept}
            for key in found:
                self._kept.move_to_end(key)
        return found

    def remember(self, verdicts: Mapping[K, V]) -> None:
        """Keep `verdicts`, in place of the oldest ones where there is no room."""
        with self._lock:
            self._kept.update(verdicts)
            while len(self._kept) > self._limit:
                self._kept.popitem(last=False)
