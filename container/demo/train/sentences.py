"""Teach the encoder of the demo to find what needs intervention: the second judge of container/demo/moderation.

python -m container.demo.train.sentences --steps 1500
"""

from __future__ import annotations

import argparse
import math
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from container.demo.data.moderation_data import Labelled, Phrases
from container.demo.train.moderation import demo_source
from container.demo.train.moderation_batches import TextSource
from server.chat.moderation.policy_file import load_policy
from server.retrieval.encoder.encoder import Encoder
from server.retrieval.encoder.source import SAMPLE
from server.retrieval.encoder.text_classifier import DIRECTION, DOWN, MADE_FOR, OFFSET, UP, digest

_RANK = 16
_FIRST_LAYER = 2  # those below it know words, not yet what is said with them
_SHARPNESS = 20.0  # of the direction: unit vectors that differ little may differ much in what they say
_MOST_TOKENS = 80
_TEXTS_A_STEP, _STEPS_A_DRAW = 32, 12
_SURE = 0.985  # what is said of a text's label: no log-odds need grow without end
_NEITHER = "needs caution"  # spite without a threat: some would block it
_RATE, _WARMUP_STEPS, _KEPT = 1e-3, 60, 0.99
_STEPS_A_REPORT = 50


class Added(nn.Module):
    """A linear layer with a product of two narrow matrices added to its own, which alone learn."""

    def __init__(self, base: nn.Linear) -> None:
        super().__init__()
        self.base = base.requires_grad_(False)
        self.down = nn.Parameter(torch.randn(_RANK, base.in_features) / math.sqrt(base.in_features))
        self.up = nn.Parameter(torch.zeros(base.out_features, _RANK))

    def forward(self, hidden: Tensor) -> Tensor:
        """What the layer makes of `hidden`, [..., in] to [..., out]."""
        base: Tensor = self.base(hidden)
        return base + hidden @ self.down.T @ self.up.T


class Pupil(nn.Module):
    """The encoder with what it is to learn."""

    def __init__(self, encoder: Encoder) -> None:
        super().__init__()
        self.network = encoder.network.requires_grad_(False)
        self._tokenizer = encoder.tokenizer
        self.added = dict(_with_added(self.network))
        self.direction = nn.Parameter(torch.zeros(encoder.dimension))
        self.offset = nn.Parameter(torch.zeros(1))

    def forward(self, texts: Sequence[str]) -> Tensor:  # [num_texts]
        """The log-odds of each text, from the mean of its token vectors as the encoder pools them."""
        tokens = self._tokenizer(
            list(texts), truncation=True, max_length=_MOST_TOKENS, padding=True, return_tensors="pt"
        )
        hidden = self.network(**tokens).last_hidden_state  # [num_texts, tokens, dimension]
        counted = tokens["attention_mask"].unsqueeze(-1).float()
        vectors = nn.functional.normalize((hidden * counted).sum(1) / counted.sum(1), dim=-1)
        return _SHARPNESS * (vectors @ self.direction) + self.offset

    def go_on_from(self, weights: Path) -> None:
        """Begin with what a file of an earlier run holds."""
        with torch.no_grad():
            for name, each in load_file(weights).items():
                self.learnt()[name].copy_(each / _SHARPNESS if name == DIRECTION else each)

    def learnt(self) -> dict[str, nn.Parameter]:
        """All that learns, by the names of the file."""
        found = {DIRECTION: self.direction, OFFSET: self.offset}
        for name, layer in self.added.items():
            found |= {f"{name}.weight{DOWN}": layer.down, f"{name}.weight{UP}": layer.up}
        return found


class Average:
    """A moving average of parameters: better than where the last steps happened to lead."""

    def __init__(self, parameters: dict[str, nn.Parameter]) -> None:
        self._parameters = parameters
        self.values = {name: each.detach().clone() for name, each in parameters.items()}

    def follow(self, step: int) -> None:
        """Take in the parameters as they are after `step`."""
        kept = min(_KEPT, step / (step + 10))
        for name, each in self._parameters.items():
            self.values[name].mul_(kept).add_(each.detach(), alpha=1 - kept)


@dataclass(frozen=True)
class Run:
    """How long, from which seed and how fast."""

    steps: int
    seed: int = 1
    rate: float = _RATE


def train(
    pupil: Pupil, source: Callable[[random.Random], TextSource], run: Run
) -> Iterator[tuple[str, dict[str, Tensor]]]:
    """A line of progress now and then, and what was learnt up to there, as the file has it; at last after all steps."""
    worst = load_policy().severity[-1]
    learnt = pupil.learnt()
    average = Average(learnt)
    optimizer = torch.optim.AdamW(learnt.values(), lr=run.rate, betas=(0.9, 0.98), weight_decay=0.01)
    pupil.train()
    losses = []
    for step, batch in enumerate(_batches(source, run), 1):
        for group in optimizer.param_groups:
            group["lr"] = run.rate * min(1.0, step / _WARMUP_STEPS) * (0.02 + 0.98 * (1 - step / run.steps))
        wanted = torch.tensor([_SURE if each.label == worst else 1 - _SURE for each in batch])
        loss = nn.functional.binary_cross_entropy_with_logits(pupil([each.text for each in batch]), wanted)
        loss.backward()
        nn.utils.clip_grad_norm_(learnt.values(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        average.follow(step)
        losses.append(float(loss.detach()))
        if step % _STEPS_A_REPORT == 0 or step == run.steps:
            mean = sum(losses[-_STEPS_A_REPORT:]) / len(losses[-_STEPS_A_REPORT:])
            yield (
                f"step {step} of {run.steps}  loss {mean:.4f}",
                average.values | {DIRECTION: average.values[DIRECTION] * _SHARPNESS},
            )


def _batches(source: Callable[[random.Random], TextSource], run: Run) -> Iterator[list[Labelled]]:
    """Texts of like length together, drawn for some steps at a time."""
    given = 0
    while given < run.steps:
        rng = random.Random(f"{run.seed}/{given}")
        texts = source(rng)
        drawn = [texts.text() for _ in range(_TEXTS_A_STEP * _STEPS_A_DRAW)]
        drawn = sorted((each for each in drawn if each.label != _NEITHER), key=lambda each: len(each.text))
        groups = [drawn[first : first + _TEXTS_A_STEP] for first in range(0, len(drawn), _TEXTS_A_STEP)]
        rng.shuffle(groups)
        yield from groups[: run.steps - given]
        given += len(groups)


def _with_added(network: nn.Module) -> Iterator[tuple[str, Added]]:
    """The linear layers from `_FIRST_LAYER` on, each with what is added to it, by their names."""
    layers = [(name, each) for name, each in network.named_modules() if isinstance(each, nn.Linear)]
    for name, layer in layers:
        found = [int(part) for part in name.split(".") if part.isdigit()]
        if found and found[0] >= _FIRST_LAYER:
            parent, _, own = name.rpartition(".")
            added = Added(layer)
            setattr(network.get_submodule(parent), own, added)
            yield name, added


def main(arguments: list[str] | None = None) -> None:
    """Train, and save what is learnt as it goes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("container/demo/moderation/second/sentences.safetensors"))
    parser.add_argument("--encoder", default=SAMPLE)
    parser.add_argument("--articles", type=Path, default=Path(".cache/demo/articles.json"))
    parser.add_argument("--init-from", type=Path, help="go on from what this file holds, at a third of the rate")
    parser.add_argument("--steps", type=int, default=1500)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args(arguments)
    torch.manual_seed(args.seed)
    phrases = Phrases()
    phrases.widen()
    source = demo_source(args.articles, phrases)
    encoder = Encoder(args.encoder, device="cpu", num_threads=args.threads)
    made_for = digest(encoder.network)
    pupil = Pupil(encoder)
    if args.init_from:
        pupil.go_on_from(args.init_from)
    run = Run(args.steps, args.seed, _RATE / 3 if args.init_from else _RATE)
    for line, tensors in train(pupil, source, run):
        print(line, flush=True)
        save_file({name: each.to(torch.float16) for name, each in tensors.items()}, args.out, {MADE_FOR: made_for})


if __name__ == "__main__":
    main()
