"""Golden data: what an unsharded float32 model said of a few prompts, and the check that a group says the same.

The reference runs module by module: a module's parameters are read, cast to float32 and dropped again around its own
forward pass, so that a model of any size needs the memory of its largest tensor.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec
import torch
from tokenizers import Tokenizer
from torch import Tensor, nn

from server.engine.group import Rank
from server.engine.load import read_config, shard_on_meta
from server.engine.step import ModelStep, Segment
from server.engine.weights import PlainCheckpoint, cast

_TOP = 8  # logits kept of each prompt
_PROMPTS = (
    "The quick brown fox jumps over the lazy dog.",
    "<human>: What is the capital of France?\n<bot>:",
    "<human>: Write a haiku about the sea.\n<bot>: Waves fold into foam,\n",
    "Input: Good morning, how are you today?\nOutput:",
)
# Largest difference of a top logit, as a share of the reference's spread (standard deviation over the vocabulary).
# Measured on models of 1 to 405 million parameters with a margin of at least four.
TOLERANCES = {"float32": 0.001, "float16": 0.05, "bfloat16": 0.25, "int8": 0.6}


class GoldenError(RuntimeError):
    """A group that does not say what the reference said; the sentence names prompt, expected, found and tolerance."""


class GoldenPrompt(msgspec.Struct, frozen=True):
    """One prompt and the reference's largest logits after it."""

    token_ids: tuple[int, ...]
    top_tokens: tuple[int, ...]
    top_logits: tuple[float, ...]
    spread: float  # standard deviation of the reference's logits


class Golden(msgspec.Struct, frozen=True):
    """The golden data of one model."""

    prompts: tuple[GoldenPrompt, ...]
    tolerances: dict[str, float]


@torch.inference_mode()
def compute_golden(folder: Path, source: PlainCheckpoint) -> Golden:
    """Run the reference over the golden prompts."""
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    model = shard_on_meta(read_config(folder), Rank(0, 1, torch.device("cpu")))
    handles = list(_read_around_forward(model, source))
    prompts = []
    for text in _PROMPTS:
        token_ids = tokenizer.encode(text, add_special_tokens=False).ids
        logits = model(input_ids=torch.tensor([token_ids]), use_cache=False, logits_to_keep=1).logits[0, -1]
        prompts.append(_golden_prompt(token_ids, logits))
    for handle in handles:
        handle.remove()
    return Golden(tuple(prompts), TOLERANCES)


def _golden_prompt(token_ids: list[int], logits: Tensor) -> GoldenPrompt:
    top = logits.topk(_TOP)
    return GoldenPrompt(tuple(token_ids), tuple(top.indices.tolist()), tuple(top.values.tolist()), float(logits.std()))


def _read_around_forward(model: nn.Module, source: PlainCheckpoint) -> list[torch.utils.hooks.RemovableHandle]:
    handles = []
    for prefix, module in model.named_modules():
        own = [name for name, parameter in module._parameters.items() if parameter is not None]
        if own:
            handles.append(module.register_forward_pre_hook(_fill(prefix, own, source)))
            handles.append(module.register_forward_hook(_empty(own)))
    return handles


def _fill(prefix: str, own: list[str], source: PlainCheckpoint) -> Callable[..., None]:
    def fill(module: nn.Module, _inputs: object) -> None:
        for name in own:
            whole = cast(source.tensor(f"{prefix}.{name}", None), torch.float32, torch.device("cpu"))
            module._parameters[name] = nn.Parameter(whole, requires_grad=False)

    return fill


def _empty(own: list[str]) -> Callable[..., None]:
    def empty(module: nn.Module, _inputs: object, _output: object) -> None:
        for name in own:
            parameter = module._parameters[name]
            assert parameter is not None
            module._parameters[name] = nn.Parameter(parameter.to("meta"), requires_grad=False)

    return empty


def read_golden(manifest: dict[str, Any]) -> Golden | None:
    """The golden data of a manifest; None when it has none. Raises msgspec.ValidationError when it is not golden data."""
    raw = manifest.get("golden")
    return None if raw is None else msgspec.convert(raw, Golden)


def check_golden(
    golden: Golden, run: Callable[[ModelStep], Tensor], model: str, dtype: str, block_tokens: int
) -> float:
    """Run the golden prompts through a group; the largest difference found, as a share of the tolerance.

    Every rank must call it; each compares its own logits.

    Raises:
        GoldenError: a difference beyond the tolerance of `dtype`.
    """
    tolerance, worst = golden.tolerances[dtype], 0.0
    for number, prompt in enumerate(golden.prompts):
        blocks = tuple(range(-(-len(prompt.token_ids) // block_tokens)))
        segment = Segment(prompt.token_ids, blocks, 0, 0, 0, (), 1)
        logits = run(ModelStep(model, (segment,)))[0].float()
        worst = max(worst, _compare(number, prompt, logits, model, dtype, tolerance))
    return worst


def _compare(number: int, prompt: GoldenPrompt, logits: Tensor, model: str, dtype: str, tolerance: float) -> float:
    found = logits[torch.tensor(prompt.top_tokens, device=logits.device)].tolist()
    differences = [abs(ours - theirs) / prompt.spread for ours, theirs in zip(found, prompt.top_logits, strict=True)]
    worst = max(range(len(differences)), key=differences.__getitem__)
    if not differences[worst] <= tolerance:  # a NaN is beyond every tolerance
        raise GoldenError(
            f"golden prompt {number} of model {model!r}: logit of token {prompt.top_tokens[worst]} is {found[worst]:.4f}, "
            f"expected {prompt.top_logits[worst]:.4f}; the difference is {differences[worst]:.4f} of the logits' spread, "
            f"at most {tolerance} is tolerated with OCK_DTYPE={dtype}; suspect the weights, OCK_KERNEL_INJECT or OCK_DTYPE"
        )
    return differences[worst] / tolerance


def check_files(folder: Path, manifest: dict[str, Any], names: Sequence[str]) -> None:
    """Compare the checksums of `names` in `folder` with the manifest's.

    Raises:
        GoldenError: a file that is missing or not what was packaged.
    """
    import hashlib

    for name in names:
        path = folder / name
        if not path.is_file():
            raise GoldenError(f"{path} is missing; the manifest lists it")
        with path.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
        if found != manifest["files"][name]:
            raise GoldenError(
                f"{path} is damaged: sha256 {found[:16]}..., the manifest says {manifest['files'][name][:16]}...; fetch it again"
            )
