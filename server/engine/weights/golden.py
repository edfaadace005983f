"""Golden data: what an unsharded float32 model said of a few prompts, and the check that a group says the same."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import msgspec
import torch
from torch import Tensor

from server.dtypes import DTYPES
from server.engine.schedule.step import ModelStep, Segment


class GoldenError(RuntimeError):
    """A group that does not say what the reference said; the sentence names prompt, expected, found and tolerance."""


class GoldenPrompt(msgspec.Struct, frozen=True):
    """One prompt and the reference's largest logits after it."""

    text: str
    token_ids: tuple[int, ...]
    top_tokens: tuple[int, ...]
    top_logits: tuple[float, ...]
    spread: float  # standard deviation of the reference's logits over the vocabulary


class Golden(msgspec.Struct, frozen=True):
    """The golden data of one model. A tolerance is a share of a prompt's spread."""

    prompts: tuple[GoldenPrompt, ...]
    tolerances: Mapping[str, float]

    def tolerance(self, dtype: str) -> float:
        """Of weights that went through `dtype`, which may be younger than the package."""
        return self.tolerances.get(dtype, DTYPES[dtype].golden_tolerance)


class GoldenCheck:
    """Runs golden prompts through one model of a group.

    Args:
        model: its name in steps.
        run: computes the logits of a step; every rank must make the same calls.
        block_tokens: of the model's pool.
        num_slots: of the model's pool; prompts that do not fit are left out.
        dtypes: what the weights went through: the dtype that serves, and the one they were packaged in.
        suspects: what to look at when the answers differ; ends the error's sentence.
    """

    def __init__(
        self,
        model: str,
        run: Callable[[ModelStep], Tensor],
        block_tokens: int,
        num_slots: int,
        dtypes: tuple[str, ...],
        suspects: str,
    ) -> None:
        self._model = model
        self._run = run
        self._block_tokens = block_tokens
        self._num_slots = num_slots
        self._dtypes = dtypes
        self._suspects = suspects

    def check(self, golden: Golden) -> float:
        """The largest difference found, as a share of the tolerance.

        Raises:
            GoldenError: a difference beyond the tolerance of the widest dtype on the way.
        """
        tolerance = max(golden.tolerance(dtype) for dtype in self._dtypes)
        fitting = [prompt for prompt in golden.prompts if len(prompt.token_ids) <= self._num_slots]
        return max((self._compare(prompt, tolerance) for prompt in fitting), default=0.0)

    def _compare(self, prompt: GoldenPrompt, tolerance: float) -> float:
        logits = self._logits(prompt.token_ids)
        found = logits[torch.tensor(prompt.top_tokens, device=logits.device)].tolist()
        off = [abs(ours - theirs) / prompt.spread for ours, theirs in zip(found, prompt.top_logits, strict=True)]
        bad = [index for index, each in enumerate(off) if not each <= tolerance]  # a NaN is beyond every tolerance
        if bad:
            first = bad[0]
            raise GoldenError(
                f"model {self._model!r} does not say what its reference said after the golden prompt {prompt.text!r}: "
                f"the logit of token {prompt.top_tokens[first]} should be {prompt.top_logits[first]:.4f}, found "
                f"{found[first]:.4f}; that is {off[first]:.4f} of the logits' spread, tolerated is {tolerance}. "
                f"{self._suspects}"
            )
        return max(off) / tolerance

    def _logits(self, token_ids: tuple[int, ...]) -> Tensor:
        """Of the last token, computed as a prompt and one decode: both kinds of step are checked."""
        blocks = tuple(range(-(-len(token_ids) // self._block_tokens)))
        num_prompt = len(token_ids) - 1
        if num_prompt:
            self._run(ModelStep(self._model, (Segment.of(token_ids[:-1], blocks, 0, num_logits=1),)))
        last = Segment.of(token_ids[-1:], blocks, num_prompt, num_logits=1)
        return self._run(ModelStep(self._model, (last,)))[0].float()
