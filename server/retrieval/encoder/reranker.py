"""A cross-encoder that reads a question and a passage together: slower than vectors, and often a better judge."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from server.retrieval.encoder.encoder import Device, pick_device
from server.retrieval.encoder.source import encoder_path
from server.retrieval.retriever import RetrievalError

if TYPE_CHECKING:
    from numpy.typing import NDArray

_MAX_TOKENS = 512


class Reranker:
    """A sentence-transformers cross-encoder with one score a pair. Many threads may use it.

    Args:
        name: a folder, or a hub id with an optional @revision.

    Raises:
        RetrievalError: it cannot be found or loaded, or gives more than one score.
    """

    def __init__(self, name: str, device: Device = "auto") -> None:
        from sentence_transformers import CrossEncoder

        path, _, revision = encoder_path(name).partition("@")
        try:
            self._model = CrossEncoder(
                path,
                device=pick_device(device),
                revision=revision or None,
                max_length=_MAX_TOKENS,
                model_kwargs={"use_safetensors": True},  # never a pickle, which could run code of its author
            )
        except (OSError, ValueError) as error:
            raise RetrievalError(f"OCK_RERANKER={name!r} cannot be loaded: {error}") from error
        if self._model.num_labels != 1:
            raise RetrievalError(f"OCK_RERANKER={name!r} gives {self._model.num_labels} scores a passage; 1 is legal")

    def scores(self, question: str, texts: Sequence[str]) -> NDArray[np.float32]:  # [num_texts]
        """How well each text answers the question, from 0 to 1."""
        if not texts:
            return np.empty(0, np.float32)
        found = self._model.predict([(question, text) for text in texts], show_progress_bar=False)
        scores: NDArray[np.float32] = np.asarray(found, dtype=np.float32)
        return scores
