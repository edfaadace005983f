"""Texts as unit vectors, through sentence-transformers."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Literal, cast

import numpy as np

from server.retrieval.encoder.prompts import Prompts, Role, prompts_of
from server.retrieval.encoder.source import encoder_path, packaged_name
from server.retrieval.retriever import RetrievalError

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from sentence_transformers import SentenceTransformer
    from torch import nn

Device = Literal["auto", "cpu", "cuda"]
Precision = Literal["auto", "float32", "bfloat16"]
CPU_STEP_TOKENS = 1024  # a step that stays in the cores' caches is fastest on CPU
CUDA_STEP_TOKENS = 65536
_STATIC_TOKENS = 8192


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
        self._is_static = not hasattr(self._tokenizer, "pad")  # a table of token vectors, without a network
        self._pools_prompt = all(getattr(module, "include_prompt", True) for module in self._model)
        self._prompt_tokens = 0
        self.prompts = _prompts(name, self._model)
        self._step_tokens = CUDA_STEP_TOKENS if self.device == "cuda" else CPU_STEP_TOKENS

    def twin(self) -> Encoder:
        """Another encoder with the same weights, which both hold together, for another thread."""
        twin = copy.copy(self)
        held = {id(each): each for each in (*self._model.parameters(), *self._model.buffers())}
        twin._model = copy.deepcopy(self._model, held)
        twin._tokenizer = twin._model.tokenizer
        return twin

    @property
    def network(self) -> nn.Module:
        """The network that makes vectors of tokens."""
        return cast("nn.Module", self._model[0].auto_model)

    @property
    def tokenizer(self) -> Any:
        """What makes tokens of texts."""
        return self._tokenizer

    @property
    def dimension(self) -> int:
        """Length of a vector."""
        found = self._model.get_embedding_dimension()
        assert found, self.name
        return int(found)

    @property
    def max_tokens(self) -> int:
        """Tokens of a text that are read; the rest is cut off."""
        longest = self._model.max_seq_length
        return int(longest) if longest and longest != float("inf") else _STATIC_TOKENS if self._is_static else 512

    @property
    def pooling(self) -> str:
        """How token vectors become one: "mean", "cls"..."""
        for module in self._model:
            mode = getattr(module, "pooling_mode", None)
            if mode is not None:
                return str(getattr(mode, "value", mode))
        return "unknown"

    def encode(
        self, texts: Sequence[str], on_step: Callable[[int], object] | None = None, role: Role = "passage"
    ) -> NDArray[np.float32]:  # [num_texts, dimension]
        """Unit vectors of `texts`, in their order; `on_step` hears how many texts each step finished.

        Args:
            role: whose prompt stands before each: a query is encoded otherwise than what it should find.
        """
        import torch

        vectors = np.zeros((len(texts), self.dimension), dtype=np.float32)
        prompt = self.prompts.before(role)
        self._prompt_tokens = self._length_of(prompt)
        token_ids = self._tokenize([prompt + text for text in texts])
        with torch.inference_mode():
            for rows in _steps(token_ids, self._step_tokens):
                vectors[rows] = self._forward([token_ids[row] for row in rows])
                if on_step is not None:
                    on_step(len(rows))
        return vectors

    def num_tokens(self, texts: Sequence[str]) -> int:
        """Tokens of `texts` that are read, all together."""
        return sum(map(len, self._tokenize(texts)))

    def _length_of(self, prompt: str) -> int:
        """Tokens of a prompt, without the one that ends a text."""
        return max(0, len(self._tokenize([prompt])[0]) - 1) if prompt and not self._pools_prompt else 0

    def _tokenize(self, texts: Sequence[str]) -> list[list[int]]:
        if not texts:
            return []
        if self._is_static:
            encodings = self._tokenizer.encode_batch(list(texts), add_special_tokens=False)
            return [encoding.ids[: self.max_tokens] for encoding in encodings]
        encoded = self._tokenizer(
            list(texts), truncation=True, max_length=self.max_tokens, padding=False, return_attention_mask=False
        )
        found: list[list[int]] = encoded["input_ids"]
        return found

    def _forward(self, token_ids: list[list[int]]) -> NDArray[np.float32]:
        import torch

        if self._is_static:
            lengths = torch.tensor([0, *map(len, token_ids[:-1])])
            flat = torch.tensor([token for row in token_ids for token in row], dtype=torch.long)
            features = {"input_ids": flat, "offsets": lengths.cumsum(0)}
        else:
            features = self._tokenizer.pad({"input_ids": token_ids}, padding=True, return_tensors="pt")
        if self._prompt_tokens and not self._pools_prompt:
            features["prompt_length"] = torch.tensor(self._prompt_tokens)
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
        raise RetrievalError(f"encoder {name!r} cannot be loaded: {_way_out(name, error)}") from error


def _way_out(name: str, error: Exception) -> str:
    """Weights in pickles only have one; what else is wrong speaks for itself."""
    if "safetensors" not in str(error):
        return str(error)
    return (
        "it has no weights in safetensors files, and pickles are not read; convert it once with "
        f"`python -m deploy package --encoder {name} --out DIR` and name DIR/encoder"
    )


def _prompts(name: str, model: SentenceTransformer) -> Prompts:
    """The prompts of an encoder, by its configuration, its name, or what its folder says it was made from."""
    config = getattr(getattr(model[0], "auto_model", None), "config", None)
    names = f"{name} {getattr(config, '_name_or_path', '')} {packaged_name(name)}"
    return prompts_of(names, model.prompts, model.default_prompt_name)


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
