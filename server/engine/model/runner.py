"""Runs steps: every model of the group, this rank's share of each."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor
from transformers import PreTrainedModel

from server.dtypes import Dtype, KvKind
from server.engine.cpu.build import BuildError
from server.engine.cpu.native_library import open_library
from server.engine.cpu.native_model import NativeModel, refusal
from server.engine.model.torch_model import TorchModel
from server.engine.parallel.all_reduce import AllReduce
from server.engine.parallel.processor import Level, processor_level
from server.engine.parallel.sampled_tokens import SampledTokens
from server.engine.schedule.step import ModelStep, Step

log = logging.getLogger(__name__)


def torch_dtype(dtype: Dtype) -> torch.dtype:
    """What `dtype` computes in."""
    found: torch.dtype = getattr(torch, dtype.compute)
    return found


class Runner(Protocol):
    """Computes what a step asks for."""

    def run(self, step: Step) -> dict[str, Tensor]:
        """Logits [num_rows, vocab] of each model in the step, rows in segment order."""


@dataclass(frozen=True)
class PoolShape:
    """How many blocks of how many tokens a model's keys and values have."""

    num_blocks: int
    block_tokens: int
    kv_kind: KvKind = KvKind.PLAIN

    @property
    def num_slots(self) -> int:
        """Tokens the pool holds."""
        return self.num_blocks * self.block_tokens


class ModelRunner:
    """One model with its paged keys and values, which `allocate` makes.

    What computes in bfloat16 on a CPU runs on the native kernels where processor and model allow it; everything else on
    torch, with Triton's kernels on a GPU. `own_kernels` false turns both off; `level` caps what the native ones use.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        dtype: Dtype,
        device: torch.device,
        *,
        own_kernels: bool = True,
        level: Level = Level.AMX,
    ) -> None:
        self._block_tokens = 0
        native = None
        if device.type == "cpu":
            native = _native(model, dtype, level if own_kernels else Level.NONE)
        self._model = native or TorchModel(model, torch_dtype(dtype), device, kind=dtype.kind, own_kernels=own_kernels)

    @torch.inference_mode()
    def allocate(self, shape: PoolShape) -> None:
        """Take the memory for keys and values, once; the weights are packed by then, so that what is free is known.

        All ranks call this.

        Raises:
            WeightsError: attention over blocks does not give what the model's own attention gives.
        """
        assert self._block_tokens == 0, "once"
        self._block_tokens = shape.block_tokens
        self._model.allocate(shape.num_slots, shape.kv_kind)

    @property
    def kv_bytes(self) -> int:
        """Bytes of keys and values on this rank."""
        return self._model.kv_bytes

    @property
    def weight_bytes(self) -> int:
        """Bytes of this rank's weights that one decode step reads."""
        return self._model.weight_bytes

    @property
    def num_weights(self) -> int:
        """This rank's weights in matrices: the products of one token."""
        return self._model.num_weights

    @torch.inference_mode()
    def record_decodes(self, max_rows: int) -> None:
        """On a GPU where attention reads keys in place, record decode steps of up to `max_rows` rows now.

        Elsewhere on a GPU each shape is recorded at its first step. All ranks call this.
        """
        if isinstance(self._model, TorchModel):
            self._model.record_decodes(max_rows)

    @torch.inference_mode()
    def run(self, step: ModelStep, sampled_before: Tensor | None = None) -> Tensor:
        """Logits [num_rows, vocab], float32, of the rows that the segments ask for; none are legal and cost nothing.

        `sampled_before` is what the step before sampled, for tokens that are pending. On a GPU the work is queued.
        """
        return self._model.run(step, self._block_tokens, sampled_before)


def _native(model: PreTrainedModel, dtype: Dtype, level: Level) -> NativeModel | None:
    why = "turned off" if level is Level.NONE else refusal(model, torch_dtype(dtype))
    if why is None:
        try:
            level = min(level, processor_level())
            library, reduce = open_library(level), AllReduce()
            return NativeModel(model, library, reduce, kind=dtype.kind, level=level)
        except BuildError as error:
            why = str(error)
    log.info("native_kernels.off model_type=%s why=%r: the torch path runs it", model.config.model_type, why)
    return None


class GroupRunner:
    """All models of the group; every rank runs the same model steps in the same order."""

    def __init__(self, runners: dict[str, ModelRunner], sampled_tokens: SampledTokens) -> None:
        self._runners = runners
        self._sampled_tokens = sampled_tokens

    def run(self, step: Step) -> dict[str, Tensor]:
        """Logits of each model in the step."""
        sampled = self._sampled_tokens.latest
        return {each.model: self._runners[each.model].run(each, sampled) for each in step.model_steps}
