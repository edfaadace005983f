"""The tokens of a sequence that penalties look at, counted as they come."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np


class SeenTokens:
    """The distinct tokens of a prompt and its reply, and how often each is in the reply.

    A token is added in constant time, so that a long conversation costs no more at its end than at its beginning.
    """

    def __init__(self, prompt: Iterable[int]) -> None:
        self._place = {token: place for place, token in enumerate(dict.fromkeys(prompt))}
        self._token_ids = np.fromiter(self._place, np.int64, len(self._place))
        self._counts = np.zeros(len(self._place), np.int64)

    @property
    def token_ids(self) -> np.ndarray:
        """[num_seen] in the order in which they came; valid until the next `add`."""
        return self._token_ids[: len(self._place)]

    @property
    def counts(self) -> np.ndarray:
        """[num_seen] times in the reply, 0 for what is in the prompt alone."""
        return self._counts[: len(self._place)]

    def add(self, token: int) -> None:
        """The reply's next token."""
        place = self._place.setdefault(token, len(self._place))
        if place == len(self._token_ids):
            self._grow()
        self._token_ids[place] = token
        self._counts[place] += 1

    def followed_by(self, tokens: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
        """`token_ids` and `counts` as they would be with `tokens` added."""
        if not tokens:
            return self.token_ids, self.counts
        counts = self.counts.copy()
        more: dict[int, int] = {}
        for token in tokens:
            place = self._place.get(token)
            if place is None:
                more[token] = more.get(token, 0) + 1
            else:
                counts[place] += 1
        new_ids, new_counts = np.array([*more], np.int64), np.array([*more.values()], np.int64)
        return np.concatenate((self.token_ids, new_ids)), np.concatenate((counts, new_counts))

    def _grow(self) -> None:
        more = np.zeros(max(64, len(self._token_ids)), np.int64)
        self._token_ids = np.concatenate((self._token_ids, more))
        self._counts = np.concatenate((self._counts, more))
