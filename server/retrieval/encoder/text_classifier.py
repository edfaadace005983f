"""An encoder taught to tell one kind of text from all others: low-rank changes to its weights, and a direction in its
vectors."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from server.retrieval.encoder.encoder import Encoder
from server.retrieval.retriever import RetrievalError

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor, nn

# [dimension] and [1]: log-odds are the vector's product with the one, plus the other.
DIRECTION, OFFSET = "direction", "offset"
DOWN, UP = ".down", ".up"  # behind a matrix's name: [rank, in] and [out, rank], whose product is added to it
MADE_FOR = "made_for"  # in the file's metadata: the digest of the encoder that it was taught on


class TextClassifier:
    """Log-odds that texts are of the kind that `weights` was taught to find. Not thread-safe: one thread uses it.

    Args:
        encoder: on the CPU, in float32; its twin is taught, and holds with it what is not changed.
        weights: the safetensors file that `container.demo.train.sentences` writes.

    Raises:
        RetrievalError: the file cannot be read, or was made for another encoder.
    """

    def __init__(self, encoder: Encoder, weights: Path) -> None:
        tensors = _read(weights, made_for=digest(encoder.network))
        self._direction = tensors.pop(DIRECTION).float().numpy()
        self._offset = float(tensors.pop(OFFSET))
        self._encoder = encoder.twin()
        add_products(self._encoder.network, tensors)

    def log_odds(self, texts: Sequence[str]) -> NDArray[np.float32]:  # [num_texts]
        """The log-odds of each of `texts`; what lies beyond the encoder's window is not read."""
        found: NDArray[np.float32] = self._encoder.encode(texts, role="plain") @ self._direction + self._offset
        return found


def digest(network: nn.Module) -> str:
    """What tells one encoder's weights from another's: the SHA-256 of its first matrix."""
    first = next(network.parameters()).detach().float().cpu().numpy()
    return hashlib.sha256(np.ascontiguousarray(first).tobytes()).hexdigest()


def add_products(network: nn.Module, tensors: dict[str, Tensor]) -> None:
    """Replace each matrix of `network` that `tensors` has UP and DOWN for by it and their product."""
    from torch import nn

    for name in sorted(each.removesuffix(DOWN) for each in tensors if each.endswith(DOWN)):
        layer, _, own = name.rpartition(".")
        of = network.get_submodule(layer)
        added = tensors[name + UP].float() @ tensors[name + DOWN].float()
        setattr(of, own, nn.Parameter(of.get_parameter(own).detach() + added, requires_grad=False))


def num_changed_bytes(weights: Path) -> int:
    """Bytes of the matrices that are there twice, taught and untaught, when an encoder is taught what `weights` holds.

    Raises:
        RetrievalError: the file cannot be read.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(weights, framework="numpy") as file:
            shapes = {name: file.get_slice(name).get_shape() for name in file.keys()}  # noqa: SIM118 - it is no dict
    except (OSError, SafetensorError) as error:
        raise RetrievalError(f"{weights}: {error}") from error
    names = [each.removesuffix(DOWN) for each in shapes if each.endswith(DOWN)]
    return sum(4 * shapes[name + UP][0] * shapes[name + DOWN][1] for name in names)


def _read(weights: Path, made_for: str) -> dict[str, Tensor]:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(weights, framework="pt") as file:
            found = (file.metadata() or {}).get(MADE_FOR)
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - it is no dict
    except (OSError, SafetensorError) as error:
        raise RetrievalError(f"{weights}: {error}") from error
    if found != made_for:
        raise RetrievalError(f"{weights}: made for the encoder {str(found)[:12]}, this one is {made_for[:12]}")
    return tensors
