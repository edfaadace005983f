"""GPT-NeoX and GPT-J on the native kernels: a rank's share of the weights, packed once, and a step over them.

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
from transformers import PretrainedConfig, PreTrainedModel

from server.dtypes import WeightKind, bytes_of
from server.engine.cpu.native_layout import NativeLayout
from server.engine.cpu.native_library import ConfigStruct, LayerStruct, ModelStruct, NativeLibrary
from server.engine.parallel.all_reduce import AllReduce
from server.engine.parallel.processor import Level
from server.engine.schedule.step import ModelStep

_ERF_GELU = ("gelu", "gelu_python")
TANH_GELU = ("gelu_new", "gelu_fast", "gelu_pytorch_tanh", "gelu_python_tanh")


# Submodules are found by name: torch types them as "a tensor or a module", which says less than Any does.
Module = Any


@dataclass(frozen=True)
class LayerParts:
    """The modules of one layer; `qkv` as [head, (query, key, value), head_dim] rows."""

    qkv: Tensor
    qkv_bias: Tensor | None
    dense: Module
    up: Module
    down: Module
    norm: Module
    second_norm: Module | None


@dataclass(frozen=True)
class ModelParts:
    """What the kernels need of a model, whichever family it is of."""

    embedding: Module
    layers: tuple[Module, ...]
    norm: Module
    head: Module
    activation: str
    rotary: int
    epsilon: float
    interleaved: bool
    parallel: bool


def refusal(model: PreTrainedModel, dtype: torch.dtype) -> str | None:
    """Why the native kernels cannot run `model`, which is on the CPU; None when they can."""
    if dtype != torch.bfloat16:
        return f"{dtype}"
    parts = _parts(model)
    if parts is None:
        return f"model type {model.config.model_type!r}"
    if parts.activation not in _ERF_GELU + TANH_GELU:
        return f"activation {parts.activation!r}"
    if parts.rotary == 0 or model.config.tie_word_embeddings:
        return "no rotary dimensions, or a head tied to the embedding"
    return None


class NativeModel:
    """One model with its keys and values inside the kernels."""

    def __init__(
        self,
        model: PreTrainedModel,
        library: NativeLibrary,
        reduce: AllReduce,
        num_slots: int,
        *,
        kind: WeightKind,
        level: Level,
    ) -> None:
        parts = _parts(model)
        assert parts is not None, "refusal() says which models the kernels run"
        self._library = library
        self._reduce = reduce
        self._embedding = parts.embedding.weight  # read in place by the kernels
        self._vocab_size, head_inputs = parts.head.weight.shape
        self._hidden = self._embedding.shape[1]
        self._num_layers = len(parts.layers)
        self._num_slots, self._num_positions = num_slots, model.config.max_position_embeddings
        self._parallel = parts.parallel
        self._head_bias = None if parts.head.bias is None else parts.head.bias.float()
        first = _layer_parts(parts.layers[0])
        config = _config_struct(model.config, parts, first, num_slots)
        config.head_inputs = head_inputs
        self._head_is_cut = head_inputs < self._hidden  # by its inputs; a whole one gives every rank the whole sum
        config.head_from = reduce.start_of(head_inputs) if self._head_is_cut else 0
        config.weight_kind, config.level = kind, level
        self.kv_bytes = 4 * config.layers * num_slots * config.heads * config.head_size
        linears = [each for layer in parts.layers for each in layer.modules() if hasattr(each, "weight")]
        values = sum(each.weight.numel() for each in [*linears, parts.head] if each.weight.dim() == 2)
        self.weight_bytes = bytes_of(kind, values, 2)
        self._model = self._new(config, model, parts)
        for layer in parts.layers:
            self._add_layer(_layer_parts(layer))
            _give_up(layer)
        _give_up(parts.head)
        self._partial = torch.empty(0, self._hidden)

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

    def _new(self, config: ConfigStruct, model: PreTrainedModel, parts: ModelParts) -> int:
        cosines, sines = _rotations(model, parts, config.positions)
        keep = [parts.norm.weight.float(), parts.norm.bias.float(), cosines, sines]
        head = parts.head.weight.contiguous()
        weights = ModelStruct(self._embedding.data_ptr(), head.data_ptr(), *(each.data_ptr() for each in keep))
        made = self._library.model_new(ctypes.byref(config), ctypes.byref(weights))
        if not made:
            raise MemoryError("no memory for the packed head")
        return int(made)

    def _add_layer(self, layer: LayerParts) -> None:
        second = layer.second_norm
        tensors = [
            *(layer.qkv.contiguous(), *(part.weight.contiguous() for part in (layer.dense, layer.up, layer.down))),
            *(_floats(bias) for bias in (layer.qkv_bias, layer.dense.bias, layer.up.bias, layer.down.bias)),
            *(_floats(layer.norm.weight), _floats(layer.norm.bias)),
            *(_floats(second and second.weight), _floats(second and second.bias)),
        ]
        weights = LayerStruct(*(None if each is None else each.data_ptr() for each in tensors))
        if self._library.add_layer(self._model, ctypes.byref(weights)):
            raise MemoryError("no memory for a packed layer and its keys and values")


def _parts(model: Module) -> ModelParts | None:
    config = model.config
    if config.model_type == "gpt_neox":
        body = model.gpt_neox
        rotary = body.layers[0].attention.rotary_ndims
        return ModelParts(
            body.embed_in, tuple(body.layers), body.final_layer_norm, model.get_output_embeddings(), config.hidden_act,
            rotary, config.layer_norm_eps, False, config.use_parallel_residual,
        )  # fmt: skip
    if config.model_type == "gptj":
        body = model.transformer
        rotary = body.h[0].attn.pos_embd_dim if config.rotary_dim else 0
        return ModelParts(
            body.wte, tuple(body.h), body.ln_f, model.lm_head, config.activation_function, rotary,
            config.layer_norm_epsilon, True, True,
        )  # fmt: skip
    return None


def _layer_parts(layer: Module) -> LayerParts:
    if hasattr(layer, "attention"):
        attention = layer.attention
        return LayerParts(
            attention.query_key_value.weight, attention.query_key_value.bias, attention.dense, layer.mlp.dense_h_to_4h,
            layer.mlp.dense_4h_to_h, layer.input_layernorm, layer.post_attention_layernorm,
        )  # fmt: skip
    attention = layer.attn
    size = attention.head_dim
    stacked = [each.weight.unflatten(0, (-1, size)) for each in (attention.q_proj, attention.k_proj, attention.v_proj)]
    qkv = torch.stack(stacked, 1).flatten(0, 2)
    return LayerParts(qkv, None, attention.out_proj, layer.mlp.fc_in, layer.mlp.fc_out, layer.ln_1, None)


def _config_struct(config: PretrainedConfig, parts: ModelParts, layer: LayerParts, num_slots: int) -> ConfigStruct:
    head_size = config.hidden_size // config.num_attention_heads
    return ConfigStruct(
        hidden=config.hidden_size,
        layers=len(parts.layers),
        heads=layer.qkv.shape[0] // (3 * head_size),
        head_size=head_size,
        rotary=parts.rotary,
        interleaved=parts.interleaved,
        inner=layer.up.weight.shape[0],
        vocabulary=parts.head.weight.shape[0],
        positions=config.max_position_embeddings,
        slots=num_slots,
        tanh_gelu=parts.activation in TANH_GELU,
        parallel=parts.parallel,
        norms=1 if layer.second_norm is None else 2,
        epsilon=parts.epsilon,
        scale=head_size**-0.5,
    )


def _rotations(model: Module, parts: ModelParts, num_positions: int) -> tuple[Tensor, Tensor]:
    """Cosines and sines [positions, rotary / 2] in float32, from the model's own frequencies."""
    half = parts.rotary // 2
    if parts.interleaved:
        sines, cosines = parts.layers[0].attn.embed_positions[:num_positions].float().split(half, dim=-1)
    else:
        positions = torch.arange(num_positions)[None]
        both = model.gpt_neox.rotary_emb(torch.empty(0, dtype=torch.float32), positions)
        cosines, sines = (each[0, :, :half] for each in both)
    return cosines.contiguous(), sines.contiguous()


def _floats(tensor: Tensor | None) -> Tensor | None:
    return None if tensor is None else tensor.detach().float().contiguous()


def _give_up(module: nn.Module) -> None:
    for parameter in module.parameters():
        parameter.data = torch.empty(0, dtype=parameter.dtype)
