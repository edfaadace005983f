"""A model runner gives the model's own logits, on every path and at every level of the processor."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from server.dtypes import CPU_DTYPES, DTYPES, KvKind, WeightKind
from server.engine.cpu.native_library import open_library
from server.engine.cpu.native_model import NativeModel
from server.engine.model.runner import ModelRunner, PoolShape, torch_dtype
from server.engine.parallel.all_reduce import AllReduce
from server.engine.parallel.processor import Level, processor_level
from server.engine.schedule.step import Segment
from server.engine.weights.family import family_of
from tests.unit.engine.tiny_models import (
    BLOCK_TOKENS,
    make_model,
    prompt_of,
    reference,
    relative_error,
    rest,
    step_of,
    whole,
)

KINDS = ("neox", "neox_sequential", "gptj", "llama")
Change = Callable[[Any], None]  # of a model, before it is packed
LEVELS = [level for level in Level if Level.NONE < level <= processor_level()]
# float32 is exact; bfloat16 rounds 8 bits; int8 rounds every weight; int4 leaves random ones sixteen values.
BOUNDS = {"float32": 1e-5, "bfloat16": 0.02, "int8": 0.06, "int4": 0.36}


def runner_of(
    kind: str, name: str, level: Level = Level.AMX, change: Change | None = None, kv: KvKind = KvKind.PLAIN
) -> ModelRunner:
    dtype = DTYPES[name]
    model = make_model(kind).to(torch_dtype(dtype))
    if change is not None:
        change(model)
    for module in model.modules():  # as the loader leaves them
        for name, buffer in module.named_buffers(recurse=False):
            setattr(module, name, buffer.float() if buffer.is_floating_point() else buffer)
    if rotary := family_of(model.config).rotary:
        model.set_submodule(rotary, make_model(kind).get_submodule(rotary))
    else:
        for block, exact in zip(model.transformer.h, make_model(kind).transformer.h, strict=True):
            block.attn.embed_positions = exact.attn.embed_positions
    shape = PoolShape(256, BLOCK_TOKENS, kv)
    runner = ModelRunner(model, dtype, torch.device("cpu"), own_kernels=level is not Level.NONE, level=level)
    runner.allocate(shape)
    return runner


PATHS = [
    *((name, Level.NONE) for name in CPU_DTYPES),
    *((name, level) for level in LEVELS for name in CPU_DTYPES if name != "float32"),
]


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.mark.parametrize(("dtype", "level"), PATHS, ids=lambda value: getattr(value, "name", str(value)))
def test_ragged_prompts_then_decodes_give_the_models_own_logits(kind: str, dtype: str, level: Level) -> None:
    runner, model = runner_of(kind, dtype, level), make_model(kind)
    sequences = [prompt_of(length) for length in (1, 5, 16, 17, 70, 130)]
    logits = runner.run(step_of(*(whole(index, tokens) for index, tokens in enumerate(sequences))))
    for _ in range(3):
        expected = torch.stack([reference(model, tokens)[-1] for tokens in sequences])
        assert logits.dtype == torch.float32
        assert relative_error(logits, expected) < BOUNDS[dtype]
        sequences = [[*tokens, 7] for tokens in sequences]
        last = [rest(index, tokens, len(tokens) - 1) for index, tokens in enumerate(sequences)]
        logits = runner.run(step_of(*last))


@pytest.mark.parametrize("level", [Level.NONE, *LEVELS], ids=lambda level: level.name)
def test_a_prompt_in_chunks_beside_a_decode_gives_the_models_own_logits(kind: str, level: Level) -> None:
    runner, model = runner_of(kind, "bfloat16", level), make_model(kind)
    long, short = prompt_of(100), prompt_of(9)
    assert runner.run(step_of(whole(0, long[:37], num_logits=0))).shape == (0, model.config.vocab_size)
    runner.run(step_of(whole(1, short[:-1])))
    logits = runner.run(step_of(rest(0, long, 37, num_logits=2), rest(1, short, len(short) - 1)))
    expected = torch.cat([reference(model, long)[-2:], reference(model, short)[-1:]])
    assert relative_error(logits, expected) < 0.02


@pytest.mark.parametrize("level", [Level.NONE, *LEVELS], ids=lambda level: level.name)
def test_branches_of_a_label_tree_see_their_ancestors_and_not_each_other(kind: str, level: Level) -> None:
    runner, model = runner_of(kind, "bfloat16", level), make_model(kind)
    context, blocks = prompt_of(21), whole(0, prompt_of(40)).blocks
    runner.run(step_of(Segment(tuple(context), blocks, 0, 0, 0)))
    first = Segment((11, 12, 13), blocks, 21, 21, 21, (), 3)
    branch = Segment((14, 15), blocks, 22, 24, 21, (21,), 2)  # after 11, in the place of 12
    other = Segment((16,), blocks, 21, 26, 21, (), 1)
    logits = runner.run(step_of(first, branch, other))
    expected = [reference(model, [*context, 11, 12, 13])[-3:], reference(model, [*context, 11, 14, 15])[-2:]]
    expected.append(reference(model, [*context, 16])[-1:])
    assert relative_error(logits, torch.cat(expected)) < 0.02


def test_what_else_is_in_the_batch_does_not_change_a_sequences_logits(kind: str) -> None:
    runner = runner_of(kind, "int8")
    tokens = prompt_of(33)
    alone = runner.run(step_of(whole(0, tokens)))
    beside = runner.run(step_of(whole(1, prompt_of(70)), whole(2, prompt_of(3)), whole(0, tokens)))[-1:]
    assert relative_error(beside, alone) < 2e-3


@pytest.mark.parametrize("level", [Level.NONE, *LEVELS], ids=lambda level: level.name)
def test_keys_and_values_of_one_byte_change_little_and_take_half_the_memory(kind: str, level: Level) -> None:
    dtype = "float32" if level is Level.NONE else "bfloat16"
    runner, plain = (runner_of(kind, dtype, level, kv=kv) for kv in (KvKind.INT8, KvKind.PLAIN))
    model, long, short = make_model(kind), prompt_of(100), prompt_of(9)
    for each in (runner, plain):
        each.run(step_of(whole(0, long[:37], num_logits=0), whole(1, short[:-1])))
    found, exact = (
        each.run(step_of(rest(0, long, 37, num_logits=5), rest(1, short, len(short) - 1))) for each in (runner, plain)
    )
    expected = torch.cat([reference(model, long)[-5:], reference(model, short)[-1:]])
    assert relative_error(found, expected) < 0.03
    assert relative_error(found, exact) > 1e-4
    size = 4 if dtype == "float32" else 2
    assert runner.kv_bytes < plain.kv_bytes * (1 / size + 0.06)


@pytest.mark.parametrize("level", LEVELS, ids=lambda level: level.name)
def test_one_input_a_hundred_times_the_others_does_not_cost_them_their_precision_in_int8(level: Level) -> None:
    def lift_one_input(model: Any) -> None:
        """The model stays what it is: what its norm makes larger the matrices make smaller."""
        for layer in model.gpt_neox.layers:
            attention = layer.input_layernorm, layer.attention.query_key_value
            feed = layer.post_attention_layernorm, layer.mlp.dense_h_to_4h
            for norm, linear in (attention, feed):
                norm.weight.data[3] *= 128
                norm.bias.data[3] *= 128
                linear.weight.data[:, 3] /= 128

    runner, model = runner_of("neox", "int8", level, change=lift_one_input), make_model("neox")
    tokens = prompt_of(70)
    logits = runner.run(step_of(whole(0, tokens, num_logits=70)))
    # Without the transform of vectors of bytes 0.27; that weight itself is rounded as coarsely as the larger ones.
    assert relative_error(logits, reference(model, tokens)) < 0.15


@pytest.mark.parametrize(("dtype", "level"), PATHS, ids=lambda value: getattr(value, "name", str(value)))
def test_a_weight_that_is_not_a_number_is_heard_of(dtype: str, level: Level) -> None:
    def damage(model: Any) -> None:
        model.gpt_neox.layers[0].mlp.dense_h_to_4h.weight.data[3, 5] = torch.nan

    runner = runner_of("neox", dtype, level, change=damage)
    assert not torch.isfinite(runner.run(step_of(whole(0, prompt_of(9))))).all()


def test_only_float32_and_unknown_models_stay_on_torch() -> None:
    assert type(runner_of("neox", "bfloat16")._model).__name__ == "NativeModel"
    assert type(runner_of("neox", "float32")._model).__name__ == "TorchModel"


class Sums(AllReduce):
    """Keeps the widths of what is summed."""

    def __init__(self) -> None:
        super().__init__()
        self.widths: list[int] = []

    def __call__(self, tensor: torch.Tensor) -> None:
        self.widths.append(tensor.shape[-1])

    def start_of(self, size: int) -> int:
        return 0


@pytest.mark.skipif(not LEVELS, reason="no native kernels on this processor")
@pytest.mark.parametrize("is_cut", [True, False])
def test_logits_are_summed_over_the_ranks_where_the_head_is_cut_and_only_there(is_cut: bool) -> None:
    model, sums = make_model("neox").bfloat16(), Sums()
    if is_cut:
        head = model.get_output_embeddings()
        head.weight = torch.nn.Parameter(head.weight[:, :64].detach().contiguous())
    native = NativeModel(model, open_library(LEVELS[-1]), sums, kind=WeightKind.PLAIN, level=LEVELS[-1])
    native.allocate(64, KvKind.PLAIN)
    logits = native.run(step_of(whole(0, prompt_of(9))), BLOCK_TOKENS)
    assert (logits.shape[-1] in sums.widths) is is_cut
