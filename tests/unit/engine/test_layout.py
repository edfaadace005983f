"""A step's segments as index arrays, the same for both paths."""

from __future__ import annotations

import pytest
import torch
from tiny_models import BLOCK_TOKENS, VOCAB_SIZE, make_model, prompt_of, rest, step_of, whole

from server.engine.decode_graphs import rounded_shape
from server.engine.native_layout import NativeLayout
from server.engine.step import Segment
from server.engine.step_layout import lay_out, pad_decode
from server.engine.torch_model import TorchModel

CPU = torch.device("cpu")


def test_tokens_positions_and_slots_follow_the_block_table() -> None:
    step = step_of(Segment((5, 6, 7), (4, 1), 7, 7, 7, (), 1))
    layout = lay_out(step, BLOCK_TOKENS, CPU)
    assert layout.token_ids.tolist() == [[5, 6, 7]]
    assert layout.positions.tolist() == [[7, 8, 9]]
    assert layout.write_slots.tolist() == [4 * 8 + 7, 1 * 8, 1 * 8 + 1]
    assert layout.spans[0].slots.tolist() == [*range(32, 40), 8, 9]
    assert layout.decode is None


def test_a_branch_sees_its_context_its_ancestors_and_itself() -> None:
    branch = Segment((9,), (0, 2), 6, 8, 4, (5,), 1)
    layout = lay_out(step_of(branch), BLOCK_TOKENS, CPU)
    assert layout.decode is not None
    assert layout.decode.slots[0, : layout.decode.num_visible[0]].tolist() == [0, 1, 2, 3, 5, 16]


def test_rows_with_logits_are_the_last_of_each_segment_on_both_paths() -> None:
    segments = (
        whole(0, prompt_of(5), num_logits=0),
        whole(1, prompt_of(4), num_logits=3),
        rest(2, prompt_of(9), 8),
        whole(3, prompt_of(2), num_logits=2),
    )
    step = step_of(*segments)
    native = NativeLayout(step, BLOCK_TOKENS)
    assert native._rows.tolist() == [6, 7, 8, 9, 10, 11] == lay_out(step, BLOCK_TOKENS, CPU).logit_rows.tolist()
    assert (native.num_tokens, native.num_rows) == (12, 6)


def test_a_step_without_logits_has_no_rows() -> None:
    assert NativeLayout(step_of(whole(0, prompt_of(3), num_logits=0)), BLOCK_TOKENS).num_rows == 0


def test_a_padded_decode_step_gives_the_same_logits() -> None:
    num_slots = 256 * BLOCK_TOKENS
    model = TorchModel(make_model("neox"), num_slots, torch.float32, CPU)
    sequences = [prompt_of(length) for length in (3, 17, 40)]
    with torch.inference_mode():
        model.run(step_of(*(whole(index, tokens) for index, tokens in enumerate(sequences))), BLOCK_TOKENS)
        step = step_of(*(rest(index, [*tokens, 9], len(tokens)) for index, tokens in enumerate(sequences)))
        layout = lay_out(step, BLOCK_TOKENS, CPU)
        assert layout.is_decode
        padded = pad_decode(layout, *rounded_shape(3, 41), spare_slot=num_slots)
        logits = model.forward(padded)
        assert logits.shape[0] == 4
        torch.testing.assert_close(logits[:3], model.forward(layout), atol=1e-5, rtol=1e-5)


def test_graph_shapes_are_few() -> None:
    assert rounded_shape(1, 1) == (1, 256)
    assert rounded_shape(9, 256) == (16, 256)
    assert rounded_shape(16, 257) == (16, 512)


@pytest.mark.parametrize(
    "segment",
    [
        Segment((VOCAB_SIZE,), (0,), 0, 0, 0, (), 1),
        Segment((5,), (0,), 256, 0, 0, (), 1),
        Segment((5,), (4,), 0, 0, 0, (), 1),
    ],
    ids=["token", "position", "block"],
)
def test_what_lies_outside_the_models_tables_never_reaches_the_kernels(segment: Segment) -> None:
    layout = NativeLayout(step_of(segment), BLOCK_TOKENS)
    with pytest.raises(AssertionError):
        layout.check(VOCAB_SIZE, num_positions=256, num_slots=4 * BLOCK_TOKENS)
