"""DeepSpeed's inference kernels in the place of a model's own operators: opt-in, and only while its answers hold.

Most of DeepSpeed's kernels write into one workspace, with the keys and values of one batch, which batches that change
with every step cannot use; several GPUs are known to get garbage from them (deepspeedai/DeepSpeed#3103). Two keep
nothing and can be used: layer norm, and the bias with the tanh form of GELU behind it.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import gelu, layer_norm

from server.engine.cpu.native_model import TANH_GELU
from server.engine.model.proven import proven

log = logging.getLogger(__name__)

_BIAS_GELU = {torch.float32: "bias_gelu_fp32", torch.float16: "bias_gelu_fp16", torch.bfloat16: "bias_gelu_bf16"}


@dataclass(frozen=True)
class Kernels:
    """(values [1, tokens, hidden], weight, bias, epsilon) and (values, bias), each giving values."""

    layer_norm: Callable[[Tensor, Tensor, Tensor, float], Tensor]
    bias_gelu: Callable[[Tensor, Tensor], Tensor]


def load_kernels(dtype: torch.dtype, device: torch.device) -> Kernels | None:
    """DeepSpeed's, compiled where they are not yet; None, and the log says why, where they cannot be had or are off."""
    from deepspeed.ops.op_builder import InferenceBuilder

    from server.engine.parallel.deepspeed_ops import load_operator

    try:
        module = load_operator(InferenceBuilder())
        kernels = Kernels(module.layer_norm, getattr(module, _BIAS_GELU[dtype]))
    except Exception as error:  # noqa: BLE001 - whatever a compiler, its tools or the driver may raise
        log.warning("injection.off why=%r", str(error))
        return None
    return kernels if prove(kernels, dtype, device) else None


def prove(kernels: Kernels, dtype: torch.dtype, device: torch.device) -> bool:
    """Whether the kernels give what torch's operators give for random values."""
    generator = torch.Generator().manual_seed(0)
    values, weight, bias = (
        torch.randn(shape, generator=generator).to(device, dtype) for shape in ((1, 7, 384), (384,), (384,))
    )

    def norm_of_copy(values: Tensor) -> Tensor:
        return kernels.layer_norm(values.clone(), weight, bias, 1e-5)

    def gelu_of_copy(values: Tensor) -> Tensor:
        return kernels.bias_gelu(values.clone(), bias)

    return proven(norm_of_copy, lambda values: layer_norm(values, (384,), weight, bias, 1e-5), values) and proven(
        gelu_of_copy, lambda values: gelu(values + bias, approximate="tanh"), values
    )


class Injection:
    """Kernels in one model; `withdraw` puts its own operators back."""

    def __init__(self, model: nn.Module, kernels: Kernels) -> None:
        self._undo: list[Callable[[], None]] = []
        for module in list(model.modules()):
            if isinstance(module, nn.LayerNorm) and module.bias is not None:
                self._replace(module, "forward", _norm(module, kernels))
            elif _ends_in_tanh_gelu(module, model):
                self._fuse(module, kernels)

    def withdraw(self) -> None:
        """Put the model's own operators back."""
        while self._undo:
            self._undo.pop()()

    def _fuse(self, feed_forward: Any, kernels: Kernels) -> None:
        """The bias of the first linear layer moves into the activation."""
        first = feed_forward.fc_in if hasattr(feed_forward, "fc_in") else feed_forward.dense_h_to_4h
        bias = first.bias
        self._replace(first, "bias", None)
        self._replace(feed_forward.act, "forward", lambda values: kernels.bias_gelu(values.contiguous(), bias))

    def _replace(self, owner: nn.Module, name: str, value: object) -> None:
        before = getattr(owner, name)
        has_own = name in owner.__dict__ or name in owner._parameters

        def put_back() -> None:
            setattr(owner, name, before) if has_own else delattr(owner, name)

        setattr(owner, name, value)
        self._undo.append(put_back)


def _norm(module: nn.LayerNorm, kernels: Kernels) -> Callable[[Tensor], Tensor]:
    return lambda values: kernels.layer_norm(values.contiguous(), module.weight, module.bias, module.eps)


def _ends_in_tanh_gelu(module: Any, model: Any) -> bool:
    """Whether `module` is the feed-forward of a GPT-NeoX or GPT-J layer whose activation the kernel computes."""
    config = model.config
    name = getattr(config, "hidden_act", None) or getattr(config, "activation_function", None)
    first = getattr(module, "fc_in", None) or getattr(module, "dense_h_to_4h", None)
    return name in TANH_GELU and first is not None and first.bias is not None and hasattr(module, "act")
