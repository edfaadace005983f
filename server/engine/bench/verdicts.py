"""What a verdict costs: `python -m server.engine.bench.verdicts --model DIR [--json OUT]`, in one process and one run.

Five ways over the same text and few-shot prompt, best of several rounds:

* score: the engine's way, scheduling included: one step with the label tree, the prefix kept;
* forward: a plain pass of the engine's runner over as many tokens, the prefix kept too, no scheduling;
* transformers_forward: the same tokens through transformers' model, the prefix kept in its cache;
* generate_label: transformers' `generate` over the whole prompt for just as many tokens as the longest label has;
* generate: the same until "Input:" appears or 512 tokens are there, as OpenChatKit's samples do it.
"""

from __future__ import annotations

import argparse
import json
import platform
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from server import wire
from server.chat.moderation.classifier import Classifier
from server.chat.moderation.policy_file import load_policy
from server.chat.prompt.tokenizer import ChatTokenizer
from server.dtypes import CPU_DTYPES, DTYPES, Dtype
from server.engine.model.runner import torch_dtype
from server.engine.rank.local import LocalEngine
from server.engine.schedule.step import ModelStep, Segment
from server.machine import machine_facts

_WORDS = "Could you tell me how the old bridge over the river was built and who paid for it in those days? "
_BLOCK_TOKENS = 4
_MODEL = wire.INPUT_MODERATION


def main() -> int:
    """Measure and print the JSON."""
    parser = argparse.ArgumentParser(prog="python -m server.engine.bench.verdicts", description=__doc__)
    parser.add_argument("--model", type=Path, required=True, help="a GPT-J moderation checkpoint")
    parser.add_argument("--dtype", choices=CPU_DTYPES, default="bfloat16")
    parser.add_argument("--text-tokens", type=int, default=30, help="length of the judged text")
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--json", type=Path, help="write the result here too")
    arguments = parser.parse_args()
    result = measure(arguments.model, arguments.dtype, arguments.text_tokens, rounds=arguments.rounds)
    text = json.dumps({**result, "command": " ".join(sys.argv)}, indent=1)
    print(text)
    if arguments.json:
        arguments.json.write_text(text, "utf-8")
    return 0


def measure(folder: Path, dtype_name: str, num_text_tokens: int, rounds: int) -> dict[str, Any]:
    """Seconds of each way, and the two ratios that matter."""
    dtype = DTYPES[dtype_name]
    classifier = Classifier.of(_MODEL, ChatTokenizer.from_folder(folder), load_policy())
    request = _request(classifier, num_text_tokens)
    bench = _Engine(folder, dtype)
    num_tree_tokens = bench.num_tree_tokens(request)
    seconds = {
        "score": best(lambda: bench.score(request), rounds),
        "forward": best(lambda: bench.forward(request, num_tree_tokens), rounds),
        **_transformers_seconds(folder, dtype, request, num_tree_tokens=num_tree_tokens, rounds=rounds),
    }
    return {
        "seconds": seconds,
        "score_over_forward": seconds["score"] / seconds["forward"],
        "score_over_transformers_forward": seconds["score"] / seconds["transformers_forward"],
        "generate_label_over_score": seconds["generate_label"] / seconds["score"],
        "generate_over_score": seconds["generate"] / seconds["score"],
        "text_tokens": len(request.text),
        "prefix_tokens": len(request.prefix),
        "label_tree_tokens": num_tree_tokens,
        "model": str(folder),
        "dtype": dtype_name,
        "threads": torch.get_num_threads(),
        "machine": machine_facts(),
        "versions": {"torch": torch.__version__, "python": platform.python_version()},
    }


def best(work: Callable[[], object], rounds: int) -> float:
    """The shortest of `rounds` runs after one that warms up."""
    work()
    shortest = float("inf")
    for _ in range(rounds):
        started = time.perf_counter()
        work()
        shortest = min(shortest, time.perf_counter() - started)
    return shortest


def _request(classifier: Classifier, num_text_tokens: int) -> wire.Score:
    request = classifier.request(_WORDS * (1 + num_text_tokens // 8), None)
    text = request.text[:num_text_tokens]
    return wire.Score(
        "bench", _MODEL, request.prefix, text=text, closing=request.closing, candidates=request.candidates
    )


class _Engine:
    """One judge's model, asked again and again."""

    def __init__(self, folder: Path, dtype: Dtype) -> None:
        self._local = LocalEngine(folder, dtype, _BLOCK_TOKENS)
        self._number = 0

    def score(self, request: wire.Score) -> wire.Scored:
        """One classification, from request to result; each has its own text, so that only the prefix is reused."""
        self._number += 1
        text = ((self._number % 97) + 5, *request.text[1:])
        [scored] = self._local.score([msgspec.structs.replace(request, request_id=str(self._number), text=text)])
        return scored

    def num_tree_tokens(self, request: wire.Score) -> int:
        """Tokens that the label tree adds."""
        scored = self.score(request)
        return scored.num_tokens - len(request.prefix) - len(request.text) - len(request.closing)

    def forward(self, request: wire.Score, num_tree_tokens: int) -> torch.Tensor:
        """As many new tokens behind the same prefix, as one plain segment with the labels' rows of logits."""
        start = len(request.prefix) // _BLOCK_TOKENS * _BLOCK_TOKENS
        tokens = (*request.prefix[start:], *request.text, *request.closing, *request.text[:num_tree_tokens])
        blocks = tuple(range(-(-(start + len(tokens)) // _BLOCK_TOKENS)))
        return self._local.runner.run(
            ModelStep(_MODEL, (Segment.of(tokens, blocks, start, num_logits=1 + num_tree_tokens),))
        )


@torch.inference_mode()
def _transformers_seconds(
    folder: Path, dtype: Dtype, request: wire.Score, num_tree_tokens: int, rounds: int
) -> dict[str, float]:
    model: Any = AutoModelForCausalLM.from_pretrained(folder, dtype=torch_dtype(dtype), local_files_only=True)
    model.eval()
    tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    own = torch.tensor([[*request.text, *request.closing, *request.text[:num_tree_tokens]]])
    prefix = torch.tensor([request.prefix])
    prompt = torch.tensor([[*request.prefix, *request.text, *request.closing]])
    kept = model(prefix, use_cache=True).past_key_values
    window = int(model.config.max_position_embeddings)

    def forward() -> None:
        model(own, past_key_values=kept, use_cache=True, logits_to_keep=1)
        kept.crop(-own.shape[1])

    def generate(num_tokens: int, **stop: Any) -> None:
        most = min(num_tokens, window - prompt.shape[1])
        mask = torch.ones_like(prompt)
        model.generate(prompt, attention_mask=mask, max_new_tokens=most, do_sample=False, pad_token_id=0, **stop)

    num_label_tokens = max(len(candidate) for candidate in request.candidates)
    return {
        "transformers_forward": best(forward, rounds),
        "generate_label": best(lambda: generate(num_label_tokens), rounds),
        "generate": best(lambda: generate(512, stop_strings=["Input:"], tokenizer=tokenizer), max(3, rounds // 4)),
    }


if __name__ == "__main__":
    sys.exit(main())
