"""Texts as unit vectors, through sentence-transformers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Literal

import numpy as np

from server.retrieval.encoder.source import encoder_path
from server.retrieval.retriever import RetrievalError

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from sentence_transformers import SentenceTransformer

Device = Literal["auto", "cpu", "cuda"]
Precision = Literal["auto", "float32", "bfloat16"]
CPU_STEP_TOKENS = 1024  # a step that stays in the cores' caches is fastest on CPU
CUDA_STEP_TOKENS = 65536


class Encoder:
    """A sentence-transformers model whose texts are cut to its window, pooled as its files say, and normalised.

    Encoding sorts by length, so nearly no padding is computed. Not thread-safe: one thread uses it.

    Args:
        name: a folder, a hub id with an optional @revision, or "sample".
        device: "auto" takes a GPU when there is one.
        num_threads: CPU threads of a step; torch keeps one number a process.
        precision: "auto" takes bfloat16 where the device multiplies it fast (GPUs, CPUs with AMX): twice the speed,
            cosine similarity above 0.9999 to float32.

    Raises:
        RetrievalError: the encoder cannot be found or loaded.
    """

    def __init__(
        self, name: str, device: Device = "auto", num_threads: int = 1, precision: Precision = "float32"
    ) -> None:
        import torch

        torch.set_num_threads(num_threads)
        self.name = name
        self.device = pick_device(device)
        self.precision = pick_precision(precision, self.device)
        self._model = _load(name, self.device).to(getattr(torch, self.precision))
        self._tokenizer = self._model.tokenizer
        self._step_tokens = CUDA_STEP_TOKENS if self.device == "cuda" else CPU_STEP_TOKENS

    @property
    def dimension(self) -> int:
        """Length of a vector."""
        found = self._model.get_embedding_dimension()
        assert found, self.name
        return int(found)

    @property
    def max_tokens(self) -> int:
        """Tokens of a text that are read; the rest is cut off."""
        return int(self._model.max_seq_length or 512)

    @property
    def pooling(self) -> str:
        """How token vectors become one: "mean", "cls"..."""
        for module in self._model:
            mode = getattr(module, "pooling_mode", None)
            if mode is not None:
                return str(getattr(mode, "value", mode))
        return "unknown"

    def encode(
        self, texts: Sequence[str], on_step: Callable[[int], object] | None = None
    ) -> NDArray[np.float32]:  # [num_texts, dimension]
        """Unit vectors of `texts`, in their order; `on_step` hears how many texts each step finished."""
        import torch

        vectors = np.zeros((len(texts), self.dimension), dtype=np.float32)
        token_ids = self._tokenize(texts)
        with torch.inference_mode():
            for rows in _steps(token_ids, self._step_tokens):
                vectors[rows] = self._forward([token_ids[row] for row in rows])
                if on_step is not None:
                    on_step(len(rows))
        return vectors

    def num_tokens(self, texts: Sequence[str]) -> int:
        """Tokens of `texts` that are read, all together."""
        return sum(map(len, self._tokenize(texts)))

    def _tokenize(self, texts: Sequence[str]) -> list[list[int]]:
        if not texts:
            return []
        encoded = self._tokenizer(
            list(texts), truncation=True, max_length=self.max_tokens, padding=False, return_attention_mask=False
        )
        found: list[list[int]] = encoded["input_ids"]
        return found

    def _forward(self, token_ids: list[list[int]]) -> NDArray[np.float32]:
        import torch

        features = self._tokenizer.pad({"input_ids": token_ids}, padding=True, return_tensors="pt")
        on_device = {name: tensor.to(self.device) for name, tensor in features.items()}
        vectors = self._model(on_device)["sentence_embedding"].float()
        found: NDArray[np.float32] = torch.nn.functional.normalize(vectors, dim=-1).cpu().numpy()
        return found


def pick_device(device: Device) -> str:
    """cuda or cpu. Raises RetrievalError when cuda is asked for and torch sees none."""
    import torch

    if device == "cuda" and not torch.cuda.is_available():
        raise RetrievalError("encoder device 'cuda': torch sees no GPU; legal are auto and cpu")
    return "cuda" if device != "cpu" and torch.cuda.is_available() else "cpu"


def pick_precision(precision: Precision, device: str) -> Precision:
    """What an encoder on `device` computes in: "auto" comes to bfloat16 where that is fast."""
    import torch

    if precision != "auto":
        return precision
    fast = torch.cuda.is_bf16_supported() if device == "cuda" else torch.cpu._is_amx_tile_supported()
    return "bfloat16" if fast else "float32"


def _load(name: str, device: str) -> SentenceTransformer:
    from sentence_transformers import SentenceTransformer

    path, _, revision = encoder_path(name).partition("@")
    try:
        return SentenceTransformer(
            path,
            device=device,
            revision=revision or None,
            model_kwargs={"use_safetensors": True},  # never a pickle, which could run code of its author
        )
    except (OSError, ValueError) as error:
        raise RetrievalError(f"encoder {name!r} cannot be loaded: {error}") from error


def _steps(token_ids: list[list[int]], step_tokens: int) -> list[list[int]]:
    """Rows of each step, longest first, so that a step's texts are of nearly one length and memory peaks at once."""
    order = sorted(range(len(token_ids)), key=lambda row: (-len(token_ids[row]), row))
    steps: list[list[int]] = []
    start = 0
    while start < len(order):
        size = max(1, step_tokens // max(1, len(token_ids[order[start]])))
        steps.append(order[start : start + size])
        start += size
    return steps
