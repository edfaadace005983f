"""One rank of a group that answers for several models, one after the other: what `test_sharded_answers.py` compares.

Runs of its own for every model and dtype would spend their time with importing torch.
"""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path

import torch
from torch import Tensor

from server.dtypes import CPU_DTYPES, DTYPES
from server.engine.model.runner import ModelRunner, PoolShape, torch_dtype
from server.engine.parallel.group import Rank, join
from server.engine.rank.liveness import end_process
from server.engine.schedule.step import ModelStep, Segment
from server.engine.weights.load import load_model

_BLOCK_TOKENS, _BLOCKS = 8, 8  # of each prompt


def _segment(index: int, tokens: list[int], start: int, num_logits: int) -> Segment:
    blocks = tuple(range(index * _BLOCKS, (index + 1) * _BLOCKS))
    return Segment.of(tuple(tokens[start:]), blocks, start, num_logits)


def _greedy(runner: ModelRunner, prompts: list[list[int]], new_tokens: int) -> list[list[int]]:
    """The tokens after `prompts`, all of them in one batch; every rank sees the same logits."""
    texts, starts = [list(prompt) for prompt in prompts], [0] * len(prompts)
    for _ in range(new_tokens):
        segments = tuple(_segment(i, text, starts[i], num_logits=1) for i, text in enumerate(texts))
        logits = runner.run(ModelStep("model", segments))
        starts = [len(text) for text in texts]
        for text, token in zip(texts, logits.argmax(-1).tolist(), strict=True):
            text.append(token)
    return [text[len(prompt) :] for text, prompt in zip(texts, prompts, strict=True)]


def _logits(runner: ModelRunner, prompts: list[list[int]]) -> Tensor:
    """[all tokens, vocab]: the last token of each prompt as a decode, the others as a prompt."""
    most = tuple(_segment(i, text[:-1], 0, num_logits=len(text) - 1) for i, text in enumerate(prompts))
    last = tuple(_segment(i, text, len(text) - 1, num_logits=1) for i, text in enumerate(prompts))
    return torch.cat([runner.run(ModelStep("model", segments)) for segments in (most, last)])


def _runner(folder: Path, name: str, place: Rank, num_prompts: int) -> ModelRunner:
    dtype = DTYPES[name]
    runner = ModelRunner(load_model(folder, place, torch_dtype(dtype)), dtype, place.device)
    runner.allocate(PoolShape(num_prompts * _BLOCKS, _BLOCK_TOKENS))
    return runner


@torch.inference_mode()
def main() -> int:
    """Answer for every checkpoint in a folder; rank 0 writes tokens and logits beside them."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rank", type=int, required=True)
    parser.add_argument("--world", type=int, required=True)
    parser.add_argument("--models", type=Path, required=True)
    parser.add_argument("--prompts", required=True)
    parser.add_argument("--new-tokens", type=int, required=True)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    # Over shared memory ranks wait for each other by spinning, which is slow where they share cores.
    has_core = arguments.world <= (os.cpu_count() or 1)
    place = join(
        arguments.rank, arguments.world, 0, device=torch.device("cpu"), timeout_s=120.0, shared_memory=has_core
    )
    prompts = json.loads(arguments.prompts)
    answers: dict[str, dict[str, object]] = {}
    for folder in sorted(path for path in arguments.models.iterdir() if path.is_dir()):
        runners = {name: _runner(folder, name, place, len(prompts)) for name in CPU_DTYPES}
        answers[folder.name] = {name: _logits(runner, prompts) for name, runner in runners.items()}
        answers[folder.name]["tokens"] = _greedy(runners["float32"], prompts, arguments.new_tokens)
    if place.leads:
        torch.save(answers, arguments.models / f"answers-{arguments.world}.pt")
    return 0


if __name__ == "__main__":
    end_process(main())
