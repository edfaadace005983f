"""Attention over blocks, compared at the start with what the same modules give by their own attention."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from transformers import PreTrainedModel

from server.engine.schedule.step import ModelStep, Segment
from server.engine.weights.family import rotary_fault
from server.engine.weights.sources import WeightsError

# Of the norm of the logits. What a family does that is not computed here is off by a third and more.
_TOLERANCES = {torch.float32: 1e-3, torch.float16: 0.03, torch.bfloat16: 0.1}
_LENGTHS = (24, 9)


class AttentionProof:
    """Two sequences of random tokens, and the logits after each that the model gives before anything is hung into it.

    All ranks make the same calls: the model's layers sum over them.

    Raises:
        WeightsError: the model's rotation depends on more than a token's position.
    """

    BLOCK_TOKENS = 1

    def __init__(self, model: PreTrainedModel, num_slots: int, device: torch.device) -> None:
        self._model_type = model.config.model_type
        if fault := rotary_fault(model.config):
            raise WeightsError(f"model_type {self._model_type!r}: {fault}; it cannot be served")
        generator = torch.Generator().manual_seed(0)
        lengths = [max(2, min(length, length * num_slots // sum(_LENGTHS))) for length in _LENGTHS]
        self._sequences = [
            torch.randint(model.config.vocab_size, (length,), generator=generator).tolist() for length in lengths
        ]
        own = [model(torch.tensor([each], device=device), use_cache=False).logits[0, -2:] for each in self._sequences]
        self._expected = torch.cat(own).float()  # [2 sequences x (last but one, last), vocab]

    def check(self, run: Callable[[ModelStep], Tensor], dtype: torch.dtype) -> None:
        """Compare with what `run` gives for the sequences packed together, as prompts and then as decodes.

        Raises:
            WeightsError: it differs by more than rounding in `dtype`.
        """
        try:
            prompts, decodes = (run(ModelStep("proof", segments)) for segments in self._steps())
        except (TypeError, AttributeError, IndexError, RuntimeError) as error:
            raise WeightsError(
                f"model_type {self._model_type!r}: its layers do not run with keys and values in blocks ({error}); "
                "this family cannot be served"
            ) from error
        found = torch.stack((prompts, decodes), 1).flatten(0, 1).float()
        off = float((found - self._expected).norm() / self._expected.norm())
        if off > _TOLERANCES[dtype]:  # what is not a number is the warm-up's to name
            raise WeightsError(
                f"model_type {self._model_type!r}: attention over keys and values in blocks is off by {off:.2f} from "
                "the model's own, which does something that is not understood here; this family cannot be served"
            )

    def _steps(self) -> tuple[tuple[Segment, ...], tuple[Segment, ...]]:
        prompts, decodes, start = [], [], 0
        for tokens in self._sequences:
            blocks, last = tuple(range(start, start + len(tokens))), len(tokens) - 1
            prompts.append(Segment.of(tuple(tokens[:-1]), blocks, 0, num_logits=1))
            decodes.append(Segment.of(tuple(tokens[-1:]), blocks, last, num_logits=1))
            start += len(tokens)
        return tuple(prompts), tuple(decodes)
