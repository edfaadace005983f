from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import GPTJConfig, GPTJForCausalLM, GPTNeoXConfig, GPTNeoXForCausalLM, PreTrainedModel

from server.dtypes import CPU_DTYPES, DTYPES
from server.engine.model.runner import ModelRunner, PoolShape, torch_dtype
from server.engine.package import golden_reference
from server.engine.package.golden_reference import compute_golden
from server.engine.parallel.group import Rank
from server.engine.weights.golden import Golden, GoldenCheck, GoldenError
from server.engine.weights.load import load_model
from server.engine.weights.source_checkpoint import SourceCheckpoint
from server.engine.weights.sources import WeightsError

VOCAB_SIZE = 61
POOL = PoolShape(num_blocks=16, block_tokens=4)


def make_model(kind: str) -> PreTrainedModel:
    torch.manual_seed(6)
    common = {"vocab_size": VOCAB_SIZE, "initializer_range": 0.15, "bos_token_id": None, "eos_token_id": None}
    if kind == "gptj":
        return GPTJForCausalLM(GPTJConfig(n_positions=64, n_embd=64, n_layer=2, n_head=8, rotary_dim=4, **common))
    return GPTNeoXForCausalLM(
        GPTNeoXConfig(
            hidden_size=64, num_hidden_layers=2, num_attention_heads=8, intermediate_size=128,
            max_position_embeddings=64, tie_word_embeddings=kind == "tied", **common,
        )
    )  # fmt: skip


def write_tokenizer(folder: Path, vocab_size: int = VOCAB_SIZE) -> None:
    """Splits at white space; the golden prompts' words are spread over the vocabulary."""
    words = sorted({word for text in golden_reference._PROMPTS for word in text.split()})
    vocabulary = {word: (7 * index + 3) % vocab_size for index, word in enumerate(words)}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token=words[0]))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.save(str(folder / "tokenizer.json"))


@pytest.fixture(scope="module", params=["neox", "tied", "gptj"])
def checkpoint(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp(request.param)
    make_model(request.param).save_pretrained(folder)
    write_tokenizer(folder)
    return folder


@pytest.fixture(scope="module")
def golden(checkpoint: Path) -> Golden:
    return compute_golden(checkpoint, SourceCheckpoint(checkpoint, {"lm_head.weight": "gpt_neox.embed_in.weight"}))


def check_of(folder: Path, dtype: str) -> GoldenCheck:
    rank = Rank(0, 1, torch.device("cpu"))
    runner = ModelRunner(load_model(folder, rank, torch_dtype(DTYPES[dtype])), DTYPES[dtype], rank.device)
    runner.allocate(POOL)
    return GoldenCheck("chat", runner.run, POOL.block_tokens, POOL.num_slots, (dtype,), f"Suspect OCK_DTYPE={dtype}")


def test_the_streamed_reference_gives_the_logits_of_the_whole_model(
    checkpoint: Path, golden: Golden, monkeypatch: pytest.MonkeyPatch
) -> None:
    from transformers import AutoModelForCausalLM

    monkeypatch.setattr(golden_reference, "_SLICE_BYTES", 4 * 64 * 5)  # slices of five rows
    sliced = compute_golden(checkpoint, SourceCheckpoint(checkpoint, {"lm_head.weight": "gpt_neox.embed_in.weight"}))
    model = AutoModelForCausalLM.from_pretrained(checkpoint, dtype=torch.float32).eval()
    for prompt, again in zip(golden.prompts, sliced.prompts, strict=True):
        with torch.inference_mode():
            logits = model(torch.tensor([prompt.token_ids])).logits[0, -1]
        expected = logits[torch.tensor(prompt.top_tokens)]
        torch.testing.assert_close(torch.tensor(prompt.top_logits), expected, rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(torch.tensor(again.top_logits), expected, rtol=1e-4, atol=1e-4)
        assert logits.argmax() == prompt.top_tokens[0]
        assert prompt.spread == pytest.approx(float(logits.std()), rel=1e-4)


@pytest.mark.parametrize("dtype", CPU_DTYPES)
def test_a_runner_of_the_same_weights_matches(checkpoint: Path, golden: Golden, dtype: str) -> None:
    assert check_of(checkpoint, dtype).check(golden) < 1


def test_a_damaged_golden_value_is_named_with_prompt_expected_found_tolerance_and_setting(
    checkpoint: Path, golden: Golden
) -> None:
    second = golden.prompts[1]
    logits = (second.top_logits[0] + second.spread, *second.top_logits[1:])
    damaged = msgspec.structs.replace(
        golden, prompts=(golden.prompts[0], msgspec.structs.replace(second, top_logits=logits), *golden.prompts[2:])
    )
    with pytest.raises(GoldenError) as caught:
        check_of(checkpoint, "float32").check(damaged)
    sentence = str(caught.value)
    assert "What is the capital of France?" in sentence
    assert f"should be {logits[0]:.4f}, found {second.top_logits[0]:.4f}" in sentence
    assert "1.0000 of the logits' spread, tolerated is 0.001" in sentence
    assert sentence.endswith("Suspect OCK_DTYPE=float32")


def test_one_wrong_weight_matrix_is_beyond_every_tolerance(checkpoint: Path, golden: Golden) -> None:
    rank = Rank(0, 1, torch.device("cpu"))
    model = load_model(checkpoint, rank, torch.float32)
    down = next(m for n, m in model.named_modules() if n.endswith(("0.mlp.dense_4h_to_h", "0.mlp.fc_out")))
    down.weight.data = down.weight.data.flip(1)
    runner = ModelRunner(model, DTYPES["float32"], rank.device)
    runner.allocate(POOL)
    for dtype in golden.tolerances:
        with pytest.raises(GoldenError):
            GoldenCheck("chat", runner.run, POOL.block_tokens, POOL.num_slots, (dtype,), "").check(golden)


def test_logits_that_are_not_numbers_do_not_match(golden: Golden) -> None:
    check = GoldenCheck("chat", lambda _: torch.full((1, VOCAB_SIZE), torch.nan), 4, 64, ("int8",), "")
    with pytest.raises(GoldenError, match="found nan"):
        check.check(golden)


def test_a_tokenizer_of_another_model_is_refused(checkpoint: Path, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_bytes((checkpoint / "config.json").read_bytes())
    write_tokenizer(tmp_path, vocab_size=1009)
    with pytest.raises(WeightsError, match="the model knows tokens 0 to 60"):
        compute_golden(tmp_path, SourceCheckpoint(checkpoint))


def test_a_package_older_than_a_dtype_is_checked_with_that_dtypes_own_tolerance() -> None:
    golden = Golden((), {"bfloat16": 0.2})
    assert golden.tolerance("bfloat16") == 0.2
    assert golden.tolerance("int8") == DTYPES["int8"].golden_tolerance
