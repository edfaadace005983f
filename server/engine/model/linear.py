"""The linear layers of the torch path with their weights packed once: int8, int4, or reordered for oneDNN."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from typing import Any

import torch
from deepspeed.module_inject.layers import LinearAllreduce, LinearLayer, LmHeadLinearAllreduce
from torch import Tensor, nn
from torch.nn.functional import linear, pad
from transformers import PreTrainedModel

from server.dtypes import WeightKind, bytes_of, head_kind
from server.engine.model.kernel_proof import proven
from server.engine.parallel.all_reduce import AllReduce
from server.engine.weights.int4 import quantise_int4, widened

Product = Callable[[Tensor], Tensor]
_LINEARS = (nn.Linear, LinearLayer, LinearAllreduce)


class PackedLinear(nn.Module):
    """y = W x + b over this rank's part of W; summed over the ranks where the cut is by inputs.

    `product` multiplies [rows, inputs] by a matrix of `weight_bytes`. `inputs` is this rank's part of an input that
    every rank holds in full.
    """

    def __init__(
        self,
        product: Product,
        weight_bytes: int,
        bias: Tensor | None,
        reduce: AllReduce | None,
        inputs: slice | None = None,
    ) -> None:
        super().__init__()
        self.weight_bytes, self.num_weights = weight_bytes, 0
        self._product = product
        self.bias = None if bias is None else nn.Parameter(bias, requires_grad=False)
        self._reduce = reduce
        self._inputs = inputs

    def forward(self, x: Tensor) -> Tensor:
        """[..., inputs] to [..., outputs]."""
        if self._inputs is not None:
            x = x[..., self._inputs]
        y = self._product(x.flatten(0, -2).contiguous())
        if self._reduce is not None:
            self._reduce(y)
        if self.bias is not None:
            y += self.bias
        return y.unflatten(0, x.shape[:-1])


def quantise(weight: Tensor) -> tuple[Tensor, Tensor]:
    """Int8 weights [outputs, inputs] and one scale an output, in the weight's dtype."""
    scales = (weight.abs().amax(1).float() / 127).clamp_min(1e-12).to(weight.dtype)
    return (weight.float() / scales.float()[:, None]).round().clamp(-127, 127).to(torch.int8), scales


def int8_product(weight: Tensor) -> Product:
    """Weight-only int8 by torch's operator: activations keep their dtype.

    torch's operator reads past the end of sizes that are not multiples of 32 on a CPU, so they are padded with zeros.
    """
    outputs, inputs = weight.shape
    quantised, scales = quantise(weight)
    missing = -inputs % 32
    quantised = pad(quantised, (0, missing, 0, -outputs % 32))
    scales = pad(scales, (0, -outputs % 32))

    def product(x: Tensor) -> Tensor:
        if not x.shape[0]:  # a step that asks for no logits; an empty launch is an error on CUDA
            return x.new_empty(0, outputs)
        padded = pad(x, (0, missing)) if missing else x
        y: Tensor = torch.ops.aten._weight_int8pack_mm(padded, quantised, scales)
        return y[:, :outputs].contiguous()

    return product


def int8_kernel_product(weight: Tensor) -> Product:
    """The same on a GPU, by a kernel of our own: torch's operator takes no heed of how many rows there are."""
    from server.engine.model.triton_int8 import int8_linear

    quantised, scales = quantise(weight)
    return lambda x: int8_linear(x, quantised, scales)


def int4_product(weight: Tensor) -> Product:
    """Weight-only int4, widened for every product: right on every device, and no quicker than its plain form."""
    packed, num_inputs = quantise_int4(weight), weight.shape[1]
    return lambda x: linear(x, widened(packed, num_inputs, x.dtype))


def int4_kernel_product(weight: Tensor) -> Product:
    """The same on a GPU, by a kernel of our own that reads half a byte a weight."""
    from server.engine.model.triton_int4 import int4_linear

    packed = quantise_int4(weight)
    return lambda x: int4_linear(x, packed)


def reordered_product(weight: Tensor) -> Product:
    """The weight in oneDNN's own order, made once instead of at every call."""
    packed = torch.ops.mkldnn._reorder_linear_weight(weight)

    def product(x: Tensor) -> Tensor:
        y: Tensor = torch.ops.mkldnn._linear_pointwise(x, packed, None, "none", [], "")
        return y

    return product


def plain_product(weight: Tensor) -> Product:
    """The weight as it is; what is summed over the ranks afterwards goes through `AllReduce`."""
    return lambda x: linear(x, weight)


def multiplies_bfloat16() -> bool:
    """Whether oneDNN has bfloat16 products for this processor; without them it refuses to reorder a matrix."""
    return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())


def pack_linears(
    model: nn.Module, dtype: torch.dtype, device: torch.device, *, kind: WeightKind, own_kernels: bool = True
) -> None:
    """Replace every linear layer of `model` for which a packed form is quicker; float32 keeps its own, exact ones."""
    names = [name for name, module in model.named_modules() if isinstance(module, _LINEARS)]
    if not names:  # packed already
        return
    packs = {each: _packing(each, dtype, device, own_kernels=own_kernels) for each in {kind, head_kind(kind)}}
    head = model.get_output_embeddings() if isinstance(model, PreTrainedModel) else None
    reduce = AllReduce()
    # By name: each module is let go of as soon as it is packed, so that never more than one is there twice.
    for name in names:
        owner, _, leaf = name.rpartition(".")
        module = model.get_submodule(name)
        held = head_kind(kind) if module is head else kind
        if (pack := packs[held]) is not None:
            setattr(model.get_submodule(owner), leaf, _packed(module, held, pack, reduce=reduce, device=device))


def _packing(
    kind: WeightKind, dtype: torch.dtype, device: torch.device, *, own_kernels: bool
) -> Callable[[Tensor], Product] | None:
    """How matrices of `kind` are packed; None where they stay as they are."""
    if kind is WeightKind.INT8:
        return int8_kernel_product if own_kernels and _multiplies_int8(dtype, device) else int8_product
    if kind is WeightKind.INT4:
        return int4_kernel_product if own_kernels and _multiplies_int4(dtype, device) else int4_product
    if device.type == "cpu" and dtype == torch.bfloat16:
        return reordered_product if multiplies_bfloat16() else plain_product
    return None


def _multiplies_int8(dtype: torch.dtype, device: torch.device) -> bool:
    """Whether the kernel works on `device`."""
    if device.type != "cuda" or importlib.util.find_spec("triton") is None:
        return False
    from server.engine.model.triton_int8 import int8_linear, linear_by_widening

    weight, x = (torch.randn(rows, 256, device=device).to(dtype) for rows in (96, 5))
    return proven(int8_linear, linear_by_widening, x, *quantise(weight))


def _multiplies_int4(dtype: torch.dtype, device: torch.device) -> bool:
    """Whether the kernel works on `device`."""
    if device.type != "cuda" or importlib.util.find_spec("triton") is None:
        return False
    from server.engine.model.triton_int4 import int4_linear

    weight, x = (torch.randn(rows, 256, device=device).to(dtype) for rows in (96, 5))
    packed = quantise_int4(weight)
    return proven(int4_linear, lambda x, weight: linear(x, widened(weight, 256, x.dtype)), x, packed)


def _packed(
    module: Any, kind: WeightKind, pack: Callable[[Tensor], Product], reduce: AllReduce, device: torch.device
) -> PackedLinear:
    inputs = None
    if isinstance(module, LmHeadLinearAllreduce):
        sizes = module._partition_sizes  # frozen by AutoTP when it cut the weight; not always equal
        inputs = slice(sum(sizes[: reduce.rank]), sum(sizes[: reduce.rank + 1]))
    summed = reduce if isinstance(module, LinearAllreduce) else None
    weight = module.weight.detach().to(device)
    num_bytes = bytes_of(kind, weight.numel(), weight.itemsize)
    packed = PackedLinear(pack(weight), num_bytes, module.bias, reduce=summed, inputs=inputs)
    packed.num_weights = weight.numel()
    return packed


def num_weights(model: nn.Module) -> int:
    """Weights of the matrices: products that a token takes."""
    modules: list[Any] = list(model.modules())
    packed = sum(each.num_weights for each in modules if isinstance(each, PackedLinear))
    return packed + sum(each.weight.numel() for each in modules if isinstance(each, _LINEARS))


def weight_bytes(model: nn.Module) -> int:
    """Bytes of the matrices, packed or not, that one decode step reads."""
    modules: list[Any] = list(model.modules())
    packed = sum(each.weight_bytes for each in modules if isinstance(each, PackedLinear))
    return packed + sum(each.weight.nbytes for each in modules if isinstance(each, _LINEARS))
