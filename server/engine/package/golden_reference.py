"""Computes golden data: an unsharded float32 model whose parameters are read as they are needed.

Linear layers are computed a few rows at a time and embeddings read only the rows of the prompts, so that a model of
any size needs a few hundred MiB. All prompts go through the model together: each parameter is read once.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch
from tokenizers import Tokenizer
from torch import Tensor, nn
from torch.nn import functional

from server.dtypes import DTYPES
from server.engine.parallel.group import Rank
from server.engine.weights.golden import Golden, GoldenPrompt
from server.engine.weights.load import read_config, shard_on_meta
from server.engine.weights.sources import Cut, WeightsError, WeightSource

_TOP = 8  # logits kept of each prompt
_SLICE_BYTES = 64 << 20  # of a linear layer's weight in float32 at a time
_PROMPTS = (
    "The quick brown fox jumps over the lazy dog.",
    "<human>: What is the capital of France?\n<bot>:",
    "<human>: Write a haiku about the sea.\n<bot>: Waves fold into foam,\n",
    "Input: Good morning, how are you today?\nOutput:",
)


@torch.inference_mode()
def compute_golden(folder: Path, source: WeightSource) -> Golden:
    """Run the reference, with the configuration and tokenizer of `folder` and the weights of `source`.

    Raises:
        WeightsError: the tokenizer does not belong to the model, or its logits are not finite.
    """
    config = read_config(folder)
    prompts = _tokenize(folder, config.vocab_size, config.max_position_embeddings)
    model = shard_on_meta(config, Rank(0, 1, torch.device("cpu")))
    _stream_parameters(model, source)
    longest = max(len(token_ids) for token_ids in prompts.values())
    # Padded on the right: no token sees what comes after it.
    batch = torch.tensor([[*token_ids, *[0] * (longest - len(token_ids))] for token_ids in prompts.values()])
    logits = model(input_ids=batch, use_cache=False).logits  # [prompt, position, vocab]
    rows = zip(prompts.items(), logits, strict=True)
    tolerances = {name: dtype.golden_tolerance for name, dtype in DTYPES.items()}
    return Golden(tuple(_golden_prompt(text, ids, row[len(ids) - 1]) for (text, ids), row in rows), tolerances)


def _tokenize(folder: Path, vocab_size: int, window: int) -> dict[str, list[int]]:
    path = folder / "tokenizer.json"
    if not path.is_file():
        raise WeightsError(f"{path} is missing; save the tokenizer in its fast form beside the checkpoint")
    tokenizer = Tokenizer.from_file(str(path))
    prompts = {text: tokenizer.encode(text, add_special_tokens=False).ids[:window] for text in _PROMPTS}
    for text, token_ids in prompts.items():
        if not token_ids or max(token_ids) >= vocab_size:
            raise WeightsError(f"{path} gives {token_ids} for {text!r}, the model knows tokens 0 to {vocab_size - 1}")
    return prompts


def _golden_prompt(text: str, token_ids: list[int], logits: Tensor) -> GoldenPrompt:
    if not torch.isfinite(logits).all():
        raise WeightsError(f"the reference's logits after {text!r} are not finite: the checkpoint is damaged")
    top = logits.topk(min(_TOP, len(logits)))
    return GoldenPrompt(
        text,
        tuple(token_ids),
        tuple(top.indices.tolist()),
        top_logits=tuple(top.values.tolist()),
        spread=float(logits.std()),
    )


def _stream_parameters(model: nn.Module, source: WeightSource) -> None:
    for name, module in model.named_modules():
        if type(module) is nn.Linear:
            module.forward = _linear(module, name, source)  # type: ignore[method-assign, assignment]
        elif type(module) is nn.Embedding:
            module.forward = _embedding(name, source)  # type: ignore[method-assign, assignment]
        elif any(parameter is not None for parameter in module._parameters.values()):
            _read_whole(module, name, source)


def _linear(module: nn.Linear, name: str, source: WeightSource) -> Callable[[Tensor], Tensor]:
    num_rows, num_columns = module.weight.shape
    at_once = max(1, _SLICE_BYTES // (4 * num_columns))
    has_bias = module.bias is not None

    def forward(inputs: Tensor) -> Tensor:
        outputs = inputs.new_empty(*inputs.shape[:-1], num_rows)
        for start in range(0, num_rows, at_once):
            stop = min(start + at_once, num_rows)
            rows = source.tensor(f"{name}.weight", Cut(0, start, stop)).float()
            outputs[..., start:stop] = functional.linear(inputs, rows)
        return outputs + source.tensor(f"{name}.bias", None).float() if has_bias else outputs

    return forward


def _embedding(name: str, source: WeightSource) -> Callable[[Tensor], Tensor]:
    def forward(token_ids: Tensor) -> Tensor:
        distinct, places = token_ids.unique(return_inverse=True)
        rows = [source.tensor(f"{name}.weight", Cut(0, row, row + 1)).float() for row in distinct.tolist()]
        return torch.cat(rows)[places]

    return forward


def _read_whole(module: nn.Module, name: str, source: WeightSource) -> None:
    """For modules of any other kind: their parameters are there during their own forward pass only."""
    own = [leaf for leaf, parameter in module._parameters.items() if parameter is not None]

    def fill(_module: nn.Module, _inputs: object) -> None:
        for leaf in own:
            whole = source.tensor(f"{name}.{leaf}" if name else leaf, None).float()
            module._parameters[leaf] = nn.Parameter(whole, requires_grad=False)

    def empty(_module: nn.Module, _inputs: object, _output: object) -> None:
        for leaf in own:
            module._parameters[leaf] = nn.Parameter(module.get_parameter(leaf).to("meta"), requires_grad=False)

    module.register_forward_pre_hook(fill)
    module.register_forward_hook(empty)
