"""A training loop that survives being killed: seeded, checkpointed, resumed where it stopped."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from transformers import Cache, PreTrainedModel

from container.demo.train.muon import Muon

_CPU = Path("/proc/cpuinfo")
_HAS_BFLOAT16 = _CPU.exists() and "bf16" in _CPU.read_text("utf-8")  # without it bfloat16 takes ten times as long


@dataclass(frozen=True)
class Batch:
    """Token rows of one step; `weights` say how much each target counts, 0 for none."""

    inputs: Tensor  # [rows, tokens]
    targets: Tensor  # [rows, tokens]
    weights: Tensor  # [rows, tokens]
    prefix: Tensor | None = None  # [1, tokens] that every row follows, computed once


class Batches(Protocol):
    """Training data whose batch for a step depends on the step and the seed alone, so resuming repeats nothing."""

    def batch(self, step: int) -> Batch:
        """The batch of `step`, counted from 0."""
        ...


@dataclass(frozen=True)
class Options:
    """How long and how fast to train. Exactly one of `minutes` and `steps` bounds the run."""

    minutes: float | None
    steps: int | None
    matrix_rate: float = 0.01
    other_rate: float = 1.5e-3
    warmup_steps: int = 100
    save_every_s: float = 60.0
    report_every: int = 25

    def __post_init__(self) -> None:
        if (self.minutes is None) == (self.steps is None):
            raise ValueError(f"minutes={self.minutes}, steps={self.steps}: give one of the two")

    def scaled(self, factor: float) -> Options:
        """The same run with other learning rates; continuing from a trained model wants lower ones."""
        return replace(self, matrix_rate=self.matrix_rate * factor, other_rate=self.other_rate * factor)

    def progress(self, step: int, trained_s: float) -> float:
        """How much of the run is done, from 0 to 1."""
        return step / self.steps if self.steps is not None else trained_s / (60 * (self.minutes or 0))


class Trainer:
    """Trains a causal language model in place; state lives in `work/state.pt` until the run is finished."""

    def __init__(self, model: PreTrainedModel, batches: Batches, options: Options, work: Path) -> None:
        self.model = model
        self._batches = batches
        self._options = options
        work.mkdir(parents=True, exist_ok=True)
        self._state_path = work / "state.pt"
        self._optimizers = _optimizers(model, options)
        self._rates = [group["lr"] for optimizer in self._optimizers for group in optimizer.param_groups]
        self.step = 0
        self.num_tokens = 0
        self.trained_s = 0.0

    def run(self, report: Callable[[str], None]) -> None:
        """Train to the end, from the last saved state when there is one."""
        self._restore(report)
        self.model.train()
        losses: list[float] = []
        saved_at = self.trained_s
        while self._options.progress(self.step, self.trained_s) < 1:
            started = time.monotonic()
            losses.append(self._train_step())
            self.trained_s += time.monotonic() - started
            if self.step % self._options.report_every == 0:
                report(self._line(losses))
                losses = []
            if self.trained_s - saved_at > self._options.save_every_s:
                self._save()
                saved_at = self.trained_s
        self._save()
        self.model.eval()

    def _train_step(self) -> float:
        batch = self._batches.batch(self.step)
        self._set_rates(self._options.progress(self.step, self.trained_s))
        with torch.autocast("cpu", torch.bfloat16, enabled=_HAS_BFLOAT16):
            loss = weighted_loss(self.model, batch)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        for optimizer in self._optimizers:
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        self.step += 1
        self.num_tokens += batch.inputs.numel()
        return float(loss.detach())

    def _set_rates(self, progress: float) -> None:
        """Linear warm-up, then a cosine down to 3 %."""
        scale = min(1.0, (self.step + 1) / self._options.warmup_steps)
        scale *= 0.03 + 0.97 * 0.5 * (1 + math.cos(math.pi * min(1.0, progress)))
        groups = [group for optimizer in self._optimizers for group in optimizer.param_groups]
        for group, rate in zip(groups, self._rates, strict=True):
            group["lr"] = rate * scale

    def _line(self, losses: list[float]) -> str:
        progress = self._options.progress(self.step, self.trained_s)
        left_min = self.trained_s * (1 - progress) / max(progress, 1e-9) / 60
        rate = self.num_tokens / max(self.trained_s, 1e-9)
        loss = sum(losses) / max(1, len(losses))
        return (
            f"step {self.step}  {100 * progress:.1f} %  loss {loss:.3f}  {self.num_tokens / 1e6:.2f} M tokens  "
            f"{rate:.0f} tokens/s  {left_min:.1f} min left"
        )

    def _save(self) -> None:
        """Write the state beside its place and move it there, so that a kill leaves the old or the new one."""
        state = {
            "model": self.model.state_dict(),
            "optimizers": [optimizer.state_dict() for optimizer in self._optimizers],
            "progress": {"step": self.step, "num_tokens": self.num_tokens, "trained_s": self.trained_s},
        }
        fresh = self._state_path.with_suffix(".fresh")
        torch.save(state, fresh)
        os.replace(fresh, self._state_path)

    def _restore(self, report: Callable[[str], None]) -> None:
        if not self._state_path.exists():
            return
        state: dict[str, Any] = torch.load(self._state_path, weights_only=True)
        self.model.load_state_dict(state["model"])
        for optimizer, saved in zip(self._optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(saved)
        self.step, self.num_tokens = state["progress"]["step"], state["progress"]["num_tokens"]
        self.trained_s = state["progress"]["trained_s"]
        report(f"resumed at step {self.step} from {self._state_path}")


def weighted_loss(model: PreTrainedModel, batch: Batch) -> Tensor:
    """Weighted mean cross-entropy over the targets that count; logits are computed for those alone."""
    cache = _prefix_cache(model, batch)
    outputs = model.base_model(input_ids=batch.inputs, past_key_values=cache, use_cache=cache is not None)
    hidden = outputs.last_hidden_state  # [rows, tokens, hidden]
    counted = batch.weights > 0
    logits = model.get_output_embeddings()(hidden[counted]).float()  # [num_counted, vocab]
    losses = nn.functional.cross_entropy(logits, batch.targets[counted], reduction="none")
    weights = batch.weights[counted]
    return (losses * weights).sum() / weights.sum()


def _prefix_cache(model: PreTrainedModel, batch: Batch) -> Cache | None:
    """Keys and values of the batch's prefix, one copy a row; gradients flow through them."""
    if batch.prefix is None:
        return None
    cache: Cache = model.base_model(input_ids=batch.prefix, use_cache=True).past_key_values
    cache.batch_repeat_interleave(len(batch.inputs))
    return cache


def _optimizers(model: PreTrainedModel, options: Options) -> list[torch.optim.Optimizer]:
    """Muon for the matrices inside the layers, AdamW for embeddings, output, norms and biases."""
    matrices: list[nn.Parameter] = []
    others: list[nn.Parameter] = []
    for name, parameter in model.named_parameters():
        is_inner = parameter.ndim == 2 and not any(part in name for part in ("embed", "wte", "lm_head"))
        if parameter.requires_grad:
            (matrices if is_inner else others).append(parameter)
    return [
        Muon(matrices, lr=options.matrix_rate, weight_decay=0.05, momentum=0.95),
        torch.optim.AdamW(others, lr=options.other_rate, betas=(0.9, 0.97), weight_decay=0.0),
    ]
