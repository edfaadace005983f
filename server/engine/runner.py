"""Runs steps: every model of the group, this rank's share of each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor
from transformers import PreTrainedModel

from server.engine.attention import PagedAttention, hang_in
from server.engine.step import ModelStep, Step
from server.engine.step_layout import lay_out


class Runner(Protocol):
    """Computes what a step asks for."""

    def run(self, step: Step) -> dict[str, Tensor]:
        """Logits [num_rows, vocab] of each model in the step, rows in segment order."""


@dataclass(frozen=True)
class PoolShape:
    """How many blocks of how many tokens a model's keys and values have."""

    num_blocks: int
    block_tokens: int

    @property
    def num_slots(self) -> int:
        """Tokens the pool holds."""
        return self.num_blocks * self.block_tokens


class ModelRunner:
    """One model with its paged keys and values."""

    def __init__(self, model: PreTrainedModel, shape: PoolShape, dtype: torch.dtype, device: torch.device) -> None:
        self._model = model
        self._shape = shape
        self._device = device
        self._layers: list[PagedAttention] = hang_in(model, shape.num_slots, dtype, device)

    @property
    def kv_bytes(self) -> int:
        """Bytes of keys and values on this rank."""
        return sum(layer.keys.nbytes + layer.values.nbytes for layer in self._layers)

    @torch.inference_mode()
    def run(self, step: ModelStep) -> Tensor:
        """Logits [num_rows, vocab] of the rows that the segments ask for; [0, vocab] rows cost nothing but are legal."""
        layout = lay_out(step, self._shape.block_tokens, self._device)
        for layer in self._layers:
            layer.layout = layout
        logits: Tensor = self._model(
            input_ids=layout.token_ids,
            position_ids=layout.positions,
            use_cache=False,
            logits_to_keep=layout.logit_rows,
        ).logits
        return logits[0]


class GroupRunner:
    """All models of the group; every rank runs the same model steps in the same order."""

    def __init__(self, runners: dict[str, ModelRunner]) -> None:
        self._runners = runners

    def run(self, step: Step) -> dict[str, Tensor]:
        """Logits of each model in the step."""
        return {each.model: self._runners[each.model].run(each) for each in step.model_steps}
