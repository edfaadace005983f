"""What low precision costs on a real text: `python -m server.engine.bench.precision --model DIR --text FILE`.

Every window of the text goes through the model in every dtype of a CPU, as the engine runs them.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from tokenizers import Tokenizer
from torch import Tensor

from server.dtypes import CPU_DTYPES, DTYPES, Dtype, KvKind
from server.engine.model.runner import ModelRunner, PoolShape, torch_dtype
from server.engine.parallel.group import Rank
from server.engine.schedule.step import ModelStep, Segment
from server.engine.weights.load import load_model

_BLOCK_TOKENS = 16
KV_INT8 = "bfloat16, keys and values int8"
_WAYS = {
    **{name: (DTYPES[name], KvKind.PLAIN) for name in CPU_DTYPES},
    KV_INT8: (DTYPES["bfloat16"], KvKind.INT8),
}


@dataclass(frozen=True)
class Precision:
    """One precision beside float32.

    Attributes:
        relative_error: of the logits, the norm of the difference over the norm.
        agreement: the share of tokens with the same most likely successor.
        perplexity_rise: 0.01 is one per cent more than float32's.
    """

    perplexity: float
    relative_error: float
    agreement: float
    perplexity_rise: float


def compare(folder: Path, tokens: list[int], window: int) -> dict[str, Precision]:
    """Every precision on `tokens`, in windows of `window` tokens that do not see each other.

    Raises:
        WeightsError: the model cannot be loaded.
    """
    windows = [tokens[start : start + window] for start in range(0, len(tokens) - window + 1, window)]
    totals = {name: _Total() for name in _WAYS}
    runners = {name: _runner(folder, *way, window) for name, way in _WAYS.items()}
    for each in windows:
        exact = _logits(runners["float32"], each)
        for name, runner in runners.items():
            totals[name].add(each, exact if name == "float32" else _logits(runner, each), exact)
    baseline = totals["float32"].perplexity
    return {name: total.precision(baseline) for name, total in totals.items()}


class _Total:
    """Sums over windows."""

    def __init__(self) -> None:
        self._negative_log_likelihood = self._difference = self._norm = 0.0
        self._agreeing = self._count = 0

    def add(self, tokens: list[int], logits: Tensor, exact: Tensor) -> None:
        """Take in a window: logits [num_tokens, vocab] and float32's own."""
        following = torch.tensor(tokens[1:])
        self._negative_log_likelihood += float(
            torch.nn.functional.cross_entropy(logits[:-1], following, reduction="sum")
        )
        self._difference += float((logits - exact).square().sum())
        self._norm += float(exact.square().sum())
        self._agreeing += int((logits.argmax(-1) == exact.argmax(-1))[:-1].sum())
        self._count += len(following)

    @property
    def perplexity(self) -> float:
        """Of all tokens so far."""
        return float(torch.tensor(self._negative_log_likelihood / self._count).exp())

    def precision(self, baseline: float) -> Precision:
        """The figures, against float32's perplexity."""
        error = (self._difference / self._norm) ** 0.5
        return Precision(
            self.perplexity, error, self._agreeing / self._count, perplexity_rise=self.perplexity / baseline - 1
        )


def _runner(folder: Path, dtype: Dtype, kv: KvKind, window: int) -> ModelRunner:
    rank = Rank(0, 1, torch.device("cpu"))
    shape = PoolShape(-(-window // _BLOCK_TOKENS), _BLOCK_TOKENS, kv)
    runner = ModelRunner(load_model(folder, rank, torch_dtype(dtype)), dtype, rank.device)
    runner.allocate(shape)
    return runner


def _logits(runner: ModelRunner, tokens: list[int]) -> Tensor:
    blocks = tuple(range(-(-len(tokens) // _BLOCK_TOKENS)))
    return runner.run(ModelStep("model", (Segment.of(tuple(tokens), blocks, 0, num_logits=len(tokens)),)))


def read_tokens(folder: Path, texts: Iterable[str], limit: int) -> list[int]:
    """The first `limit` tokens of `texts` with the model's own tokenizer."""
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokens: list[int] = []
    for text in texts:
        tokens.extend(tokenizer.encode(text, add_special_tokens=False).ids)
        if len(tokens) >= limit:
            break
    return tokens[:limit]


def main() -> int:
    """Print a table; write it as JSON where asked."""
    parser = argparse.ArgumentParser(prog="python -m server.engine.bench.precision", description=__doc__)
    parser.add_argument("--model", type=Path, required=True, help="a checkpoint folder with its tokenizer")
    parser.add_argument("--text", type=Path, required=True, help="a text file in the model's language")
    parser.add_argument("--tokens", type=int, default=20_000, help="how much of the text to use")
    parser.add_argument("--window", type=int, default=512, help="tokens that see each other")
    parser.add_argument("--json", type=Path, help="write the figures here")
    arguments = parser.parse_args()
    tokens = read_tokens(arguments.model, arguments.text.read_text("utf-8").split("\n\n"), arguments.tokens)
    if len(tokens) < arguments.window:
        sys.stderr.write(f"--text {arguments.text} has {len(tokens)} tokens, one window needs {arguments.window}\n")
        return 2
    figures = compare(arguments.model, tokens, arguments.window)
    for name, each in figures.items():
        print(f"{name:30} perplexity {each.perplexity:9.4f} ({each.perplexity_rise:+.3%})", end=" ")
        print(f"logits' relative error {each.relative_error:.2e}, same next token {each.agreement:.2%}")
    if arguments.json:
        report = {name: asdict(each) for name, each in figures.items()}
        arguments.json.write_text(json.dumps(report, indent=1) + "\n", "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
