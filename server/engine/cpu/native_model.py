"""A decoder on the native kernels: a rank's share of the weights, packed once, and a step over them.

DeepSpeed's AutoTP decides who holds what and its all-reduce sums what the ranks computed; between two all-reduces one
native call does a whole layer. The module itself stays untouched and keeps its embedding; its other weights are
given up once they are packed.
"""

from __future__ import annotations

import ctypes
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from server.dtypes import KvKind, WeightKind, bytes_of, head_kind, kv_head_bytes
from server.engine.cpu.native_layout import NativeLayout
from server.engine.cpu.native_library import ConfigStruct, LayerStruct, ModelStruct, NativeLibrary
from server.engine.parallel.all_reduce import AllReduce
from server.engine.parallel.processor import Level
from server.engine.schedule.step import ModelStep
from server.engine.weights.family import Family, family_of, window_of
from server.engine.weights.head_geometry import HeadGeometry

# As in native/model.h.
_ACTIVATIONS = {
    **dict.fromkeys(("gelu", "gelu_python"), 0),
    **dict.fromkeys(("gelu_new", "gelu_fast", "gelu_pytorch_tanh", "gelu_python_tanh"), 1),
    **dict.fromkeys(("silu", "swish"), 2),
}

# Submodules are found by name: torch types them as "a tensor or a module", which says less than Any does.
Module = Any


def refusal(model: PreTrainedModel, dtype: torch.dtype) -> str | None:
    """Why the native kernels cannot run `model`, which is on the CPU; None when they can."""
    if dtype != torch.bfloat16:
        return f"{dtype}"
    family = family_of(model.config)
    if family is None:
        return f"model type {model.config.model_type!r}"
    activation = getattr(model.config, family.activation)
    if activation not in _ACTIVATIONS:
        return f"activation {activation!r}"
    if family.rotary is None and not model.config.rotary_dim:
        return "no rotary dimensions"
    return None


class NativeModel:
    """One model with its keys and values inside the kernels."""

    def __init__(
        self,
        model: PreTrainedModel,
        library: NativeLibrary,
        reduce: AllReduce,
        *,
        kind: WeightKind,
        level: Level,
    ) -> None:
        family = family_of(model.config)
        assert family is not None, "refusal() says which models the kernels run"
        self._library = library
        self._reduce = reduce
        layers: Module = model.get_submodule(family.layers)
        self._embedding: Tensor = model.get_submodule(family.embedding).weight  # type: ignore[assignment]
        head: Module = model.get_output_embeddings()
        self._vocab_size, head_inputs = head.weight.shape
        self._hidden = self._embedding.shape[1]
        self._num_layers = len(layers)
        self._num_slots, self._num_positions = 0, window_of(model.config)
        self._kv_kind = KvKind.PLAIN
        self._parallel = family.is_set(family.parallel, model.config)
        self._head_bias = None if head.bias is None else head.bias.float()
        self._head_is_cut = head_inputs < self._hidden  # by its inputs; a whole one gives every rank the whole sum
        self._heads = HeadGeometry.of(model.config).share(reduce.rank, reduce.world)
        config = _config_struct(model, family, self._heads)
        config.parallel = self._parallel
        config.vocabulary, config.head_inputs = head.weight.shape
        config.head_from = reduce.start_of(head_inputs) if self._head_is_cut else 0
        config.weight_kind, config.level = kind, level
        linears = [each for each in layers.modules() if hasattr(each, "weight")]
        values = sum(each.weight.numel() for each in linears if each.weight.dim() == 2)
        self.num_weights = values + head.weight.numel()
        self.weight_bytes = bytes_of(kind, values, 2) + bytes_of(head_kind(kind), head.weight.numel(), 2)
        self._model = self._new(config, model, family)
        for layer in layers:
            self._add_layer(LayerParts.of(layer, family, self._heads))
            _give_up(layer)
        if head.weight.data_ptr() != self._embedding.data_ptr():  # a tied head is packed, the embedding stays
            _give_up(head)
        self._partial = torch.empty(0, self._hidden)

    @property
    def kv_bytes(self) -> int:
        """Bytes of keys and values on this rank."""
        a_head = kv_head_bytes(self._kv_kind, self._heads.head_dim, 2)
        return 2 * self._num_layers * self._num_slots * self._heads.kv_heads * a_head

    def allocate(self, num_slots: int, kind: KvKind) -> None:
        """Take the memory for the keys and values of `num_slots` tokens, held as `kind`."""
        if self._library.allocate(self._model, num_slots, kind):
            raise MemoryError(f"no memory for the keys and values of {num_slots} tokens")
        self._num_slots, self._kv_kind = num_slots, kind

    def __del__(self) -> None:
        if getattr(self, "_model", None):
            self._library.model_free(self._model)

    def run(self, step: ModelStep, block_tokens: int, sampled_before: Tensor | None = None) -> Tensor:
        """Logits [num_rows, vocab] in float32, summed over the ranks; `sampled_before` for tokens that are pending."""
        layout = NativeLayout(step, block_tokens, sampled_before)
        layout.check(self._embedding.shape[0], self._num_positions, self._num_slots)
        library, model, num_tokens = self._library, self._model, layout.num_tokens
        if self._partial.shape[0] < num_tokens:
            self._partial = torch.empty(num_tokens, self._hidden)
        partial = self._partial[:num_tokens]
        at = partial.data_ptr()
        library.begin(model, *layout.pointers)
        for index in range(self._num_layers):
            if self._parallel:
                library.layer(model, index, at)
            else:
                library.attend(model, index, at)
                self._reduce(partial)
                library.feed(model, index, at)
            self._reduce(partial)
        logits = torch.empty(layout.num_rows, self._vocab_size)
        if layout.num_rows:
            library.head(model, at, layout.rows_pointer, layout.num_rows, logits.data_ptr())
            if self._head_is_cut:
                self._reduce(logits)
            if self._head_bias is not None:
                logits += self._head_bias
        return logits

    def _new(self, config: ConfigStruct, model: PreTrainedModel, family: Family) -> int:
        cosines, sines = _rotations(model, family)
        config.rotary, config.positions = 2 * cosines.shape[1], cosines.shape[0]
        norm: Module = model.get_submodule(family.norm)
        bias = _floats(norm.bias) if family.norm_bias else None
        head: Module = model.get_output_embeddings()
        tensors = (self._embedding, head.weight.contiguous(), norm.weight.float(), bias, cosines, sines)
        weights = ModelStruct(*map(_address, tensors))
        made = self._library.model_new(ctypes.byref(config), ctypes.byref(weights))
        if not made:
            raise MemoryError("no memory for the packed head")
        return int(made)

    def _add_layer(self, layer: LayerParts) -> None:
        tensors = [each.contiguous() for each in (layer.qkv, layer.dense, layer.up, layer.down)]
        vectors = [*layer.biases, *layer.norms]
        weights = LayerStruct(*(_address(each) for each in [*tensors, *vectors]))
        if self._library.add_layer(self._model, ctypes.byref(weights)):
            raise MemoryError("no memory for a packed layer")


@dataclass(frozen=True)
class LayerParts:
    """One layer as the kernels take it: matrices [outputs, inputs] and float32 vectors; what is not there is None."""

    qkv: Tensor  # rows of queries, keys and values, one behind the other
    dense: Tensor
    up: Tensor  # behind the gate's rows, where there is a gate
    down: Tensor
    biases: tuple[Tensor | None, ...]  # of the four, in order
    norms: tuple[Tensor | None, ...]  # weight and bias of the first, then of the second

    @classmethod
    def of(cls, layer: nn.Module, family: Family, heads: HeadGeometry) -> LayerParts:
        """The parts of a `family`'s layer, with this rank's `heads`."""

        def find(*paths: str | None) -> list[Module]:
            return [layer.get_submodule(path) for path in paths if path is not None]

        projections = find(*family.query_key_value)
        ups = find(family.gate, family.up)
        dense, down = find(family.dense, family.down)
        qkv, qkv_bias = _joined(projections)
        if len(projections) == 1:  # [head][query, key, value][head_dim]
            qkv, qkv_bias = _parted(qkv, heads), None if qkv_bias is None else _parted(qkv_bias, heads)
        up, up_bias = _joined(ups)
        norms = [
            _floats(getattr(norm, leaf, None))
            for norm in find(family.first_norm, family.second_norm)
            for leaf in ("weight", "bias")
        ]
        biases = (_floats(qkv_bias), _floats(dense.bias), _floats(up_bias), _floats(down.bias))
        return cls(qkv, dense.weight, up, down=down.weight, biases=biases, norms=(*norms, *[None] * (4 - len(norms))))


def _joined(modules: list[Module]) -> tuple[Tensor, Tensor | None]:
    """Weights and biases of linear layers that read the same, one behind the other."""
    if len(modules) == 1:
        return modules[0].weight, modules[0].bias
    biases = [each.bias for each in modules]
    return torch.cat([each.weight for each in modules]), None if biases[0] is None else torch.cat(biases)


def _parted(fused: Tensor, heads: HeadGeometry) -> Tensor:
    """Rows of [head][query, key, value] as rows of [query, key, value][head]."""
    return fused.unflatten(0, (heads.heads, 3, heads.head_dim)).transpose(0, 1).flatten(0, 2)


def _config_struct(model: PreTrainedModel, family: Family, heads: HeadGeometry) -> ConfigStruct:
    config = model.config
    layers: Module = model.get_submodule(family.layers)
    return ConfigStruct(
        hidden=config.hidden_size,
        heads=heads.heads,
        kv_heads=heads.kv_heads,
        head_size=heads.head_dim,
        interleaved=family.interleaved,
        inner=layers[0].get_submodule(family.up).weight.shape[0],
        activation=_ACTIVATIONS[getattr(config, family.activation)],
        gated=family.gate is not None,
        norms=1 if family.second_norm is None else 2,
        rms=family.rms,
        epsilon=getattr(config, family.epsilon),
        scale=heads.scale,
    )


def _rotations(model: PreTrainedModel, family: Family) -> tuple[Tensor, Tensor]:
    """Cosines and sines [positions, rotary / 2] in float32, from the model's own frequencies."""
    num_positions = window_of(model.config)
    if family.rotary is None:
        layers: Module = model.get_submodule(family.layers)
        table = layers[0].attn.embed_positions[:num_positions].float()
        sines, cosines = table.split(table.shape[1] // 2, dim=-1)
    else:
        rotary: Module = model.get_submodule(family.rotary)
        both = rotary(torch.empty(0, dtype=torch.float32), torch.arange(num_positions)[None])
        cosines, sines = (each[0, :, : each.shape[-1] // 2] for each in both)
    return cosines.contiguous(), sines.contiguous()


def _address(tensor: Tensor | None) -> int | None:
    return None if tensor is None else tensor.data_ptr()


def _floats(tensor: Tensor | None) -> Tensor | None:
    return None if tensor is None else tensor.detach().float().contiguous()


def _give_up(module: nn.Module) -> None:
    for parameter in module.parameters():
        parameter.data = torch.empty(0, dtype=parameter.dtype)
