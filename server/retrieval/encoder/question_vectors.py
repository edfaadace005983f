"""Vectors of questions, those asked lately kept: an earlier question of a conversation costs no encoding."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from server.retrieval.encoder.shared import SharedEncoder

if TYPE_CHECKING:
    from numpy.typing import NDArray

_MAX_KEPT = 4096  # of 384 numbers, 6 MiB


class QuestionVectors:
    """Encodes what it has not encoded lately, all at once. One thread uses it.

    Texts are known by their digests: what people asked is not kept.
    """

    def __init__(self, encoder: SharedEncoder, max_kept: int = _MAX_KEPT) -> None:
        self._encoder = encoder
        self._max_kept = max_kept
        self._kept: OrderedDict[bytes, NDArray[np.float32]] = OrderedDict()

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:  # [num_texts, dimension]
        """Unit vectors of `texts`, in their order."""
        keys = [hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest() for text in texts]
        fresh = {key: text for key, text in zip(keys, texts, strict=True) if key not in self._kept}
        if fresh:
            self._kept.update(zip(fresh, self._encoder.encode(list(fresh.values())), strict=True))
        found = np.empty((len(texts), self._encoder.dimension), dtype=np.float32)
        for row, key in enumerate(keys):
            found[row] = self._kept[key]
            self._kept.move_to_end(key)
        while len(self._kept) > self._max_kept:
            self._kept.popitem(last=False)
        return found
