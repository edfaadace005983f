"""A step's segments as index arrays, the same for both paths."""

from __future__ import annotations

import pytest
import torch

from server.engine.cpu.native_layout import NativeLayout
from server.engine.model.decode_graphs import rounded_shape
from server.engine.model.step_layout import lay_out, pad_decode
from server.engine.model.torch_model import TorchModel
from server.engine.schedule.step import Segment, pending_token
from tests.unit.engine.tiny_models import BLOCK_TOKENS, VOCAB_SIZE, make_model, prompt_of, rest, step_of, whole

CPU = torch.device("cpu")


def test_tokens_positions_and_slots_follow_the_block_table() -> None:
    step = step_of(Segment((5, 6, 7), (4, 1), 7, 7, 7, (), 1))
    layout = lay_out(step, BLOCK_TOKENS, CPU)
    assert layout.token_ids.tolist() == [[5, 6, 7]]
    assert layout.positions.tolist() == [[7, 8, 9]]
    assert layout.write_slots.tolist() == [4 * 8 + 7, 1 * 8, 1 * 8 + 1]
    [spans] = layout.spans
    assert spans.slots.tolist() == [*range(32, 40), 8, 9]
    assert (spans.query_starts.tolist(), spans.visible_starts.tolist()) == ([0, 3], [0, 10])
    assert layout.decode is None


def test_a_branch_sees_its_context_its_ancestors_and_itself() -> None:
    branch = Segment((9,), (0, 2), 6, 8, 4, (5,), 1)
    layout = lay_out(step_of(branch), BLOCK_TOKENS, CPU)
    assert layout.decode is not None
    assert layout.decode.slots[0, : layout.decode.num_visible[0]].tolist() == [0, 1, 2, 3, 5, 16]


def test_spans_and_single_tokens_of_a_step_keep_their_places() -> None:
    segments = (whole(0, prompt_of(3)), rest(1, prompt_of(9), 8), rest(2, prompt_of(20), 16), rest(3, prompt_of(5), 4))
    layout = lay_out(step_of(*segments), BLOCK_TOKENS, CPU)
    [spans] = layout.spans
    assert layout.decode is not None
    assert spans.rows.tolist() == [0, 1, 2, 4, 5, 6, 7]
    assert (spans.num_queries, spans.num_visible) == ((3, 4), (3, 20))
    assert spans.masks[0] is None
    assert spans.masks[1].tolist() == [[entry <= 16 + row for entry in range(20)] for row in range(4)]
    assert (layout.decode.rows.tolist(), layout.decode.num_visible.tolist()) == ([3, 8], [9, 5])
    assert layout.decode.slots[1, 5:].tolist() == [int(layout.decode.slots[1, 0])] * 4, "padded with a slot of its own"


def test_segments_that_see_much_attend_in_groups(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("server.engine.model.step_layout.MAX_GATHERED_TOKENS", 50)
    lengths = (20, 30, 3, 70, 40, 10)
    step = step_of(*(whole(index, prompt_of(length)) for index, length in enumerate(lengths)))
    layout = lay_out(step, BLOCK_TOKENS, CPU)
    assert [group.num_visible for group in layout.spans] == [(20, 30), (3,), (70,), (40, 10)]
    assert torch.cat([group.rows for group in layout.spans]).tolist() == list(range(sum(lengths)))
    assert [group.query_starts.tolist() for group in layout.spans] == [[0, 20, 50], [0, 3], [0, 70], [0, 40, 50]]
    model = TorchModel(make_model("neox"), torch.float32, CPU)
    with torch.inference_mode():
        model.allocate(256 * BLOCK_TOKENS)
        in_groups = model.forward(layout)
        monkeypatch.undo()
        at_once = model.forward(lay_out(step, BLOCK_TOKENS, CPU))
    torch.testing.assert_close(in_groups, at_once)


def test_pending_tokens_are_those_that_the_step_before_sampled_on_both_paths() -> None:
    step = step_of(Segment((pending_token(2),), (0,), 3, 3, 3, (), 1), Segment((7,), (1,), 0, 0, 0, (), 1))
    sampled = torch.tensor([11, 12, 13])
    assert lay_out(step, BLOCK_TOKENS, CPU, sampled).token_ids.tolist() == [[13, 7]]
    assert NativeLayout(step, BLOCK_TOKENS, sampled)._tokens.tolist() == [13, 7]
    for make in (lay_out, NativeLayout):
        with pytest.raises(AssertionError, match="step before"):
            make(step, BLOCK_TOKENS, *((CPU,) if make is lay_out else ()))


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
    model = TorchModel(make_model("neox"), torch.float32, CPU)
    sequences = [prompt_of(length) for length in (3, 17, 40)]
    with torch.inference_mode():
        model.allocate(num_slots)
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


@pytest.mark.parametrize(
    "segment",
    [
        Segment((5, 6, 7), (4,), 6, 6, 6, (), 1),  # its last token is past its only block
        Segment((5,), (4,), 20, 20, 20, (), 1),
        Segment((5,), (4,), 3, 3, 5, (), 1),  # a context that is not written yet
        Segment((5,), (4, 1), 6, 9, 4, (9,), 1),  # its own ancestor
    ],
)
def test_a_segment_that_reaches_past_its_own_table_is_caught(segment: Segment) -> None:
    """The kernels do not look: what lies there belongs to another sequence."""
    layout = NativeLayout(step_of(segment, whole(1, prompt_of(9))), BLOCK_TOKENS)
    with pytest.raises(AssertionError):
        layout.check(VOCAB_SIZE, 256, 256 * BLOCK_TOKENS)
