"""One encoder for searches and for whoever wants vectors."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from server.retrieval.encoder.encoder import Device, Encoder, Precision, pick_device, pick_precision
from server.retrieval.encoder.prompts import Prompts, Role

if TYPE_CHECKING:
    from numpy.typing import NDArray

_TEXTS_AT_ONCE = 8
_YIELD_S = 0.001  # a lock goes back to who had it last unless that one waits a moment


class Encoders:
    """The encoders of a process: each is loaded once, whoever else asks for it. Thread-safe."""

    def __init__(self) -> None:
        self._opened: dict[tuple[str, str, str], Encoder] = {}
        self._one_at_a_time = threading.Lock()

    def open(
        self, name: str, device: Device = "auto", num_threads: int = 1, precision: Precision = "float32"
    ) -> Encoder:
        """The encoder of `name`, which is one thread's; others take its twins. Raises RetrievalError as `Encoder`."""
        on = pick_device(device)
        key = name, on, pick_precision(precision, on)
        with self._one_at_a_time:
            if key not in self._opened:
                self._opened[key] = Encoder(name, device, num_threads, precision)
            return self._opened[key]


class SharedEncoder:
    """Lets one thread at a time encode. Many texts are encoded a few at a time, so that searches get between them."""

    def __init__(self, encoder: Encoder) -> None:
        self._encoder = encoder
        self._one_at_a_time = threading.Lock()

    @property
    def encoder_name(self) -> str:
        """What the encoder was opened by."""
        return self._encoder.name

    @property
    def dimension(self) -> int:
        """Length of a vector."""
        return self._encoder.dimension

    @property
    def prompts(self) -> Prompts:
        """What stands before queries and passages."""
        return self._encoder.prompts

    def encode(self, texts: Sequence[str], role: Role = "query") -> NDArray[np.float32]:  # [num_texts, dimension]
        """Unit vectors of texts, all at once."""
        with self._one_at_a_time:
            return self._encoder.encode(texts, role=role)

    def embed(self, texts: Sequence[str]) -> tuple[NDArray[np.float32], int]:  # [num_texts, dimension]
        """Unit vectors and how many tokens were read for them."""
        vectors = np.zeros((len(texts), self.dimension), dtype=np.float32)
        num_tokens = 0
        for start in range(0, len(texts), _TEXTS_AT_ONCE):
            some = texts[start : start + _TEXTS_AT_ONCE]
            with self._one_at_a_time:
                vectors[start : start + len(some)] = self._encoder.encode(some, role="plain")
                num_tokens += self._encoder.num_tokens(some)
            time.sleep(_YIELD_S)
        return vectors, num_tokens
