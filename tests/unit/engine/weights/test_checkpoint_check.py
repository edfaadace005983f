"""What is wrong with a checkpoint's configuration or tokenizer is said in one sentence, with what to do about it."""

from __future__ import annotations

import codecs
import json
from pathlib import Path
from typing import Any

import pytest
from tokenizers import Tokenizer, models

from container.artifacts.folders import check_model
from container.refusal import Refusal
from server.engine.rank.serve import open_tokenizer
from server.engine.weights.checkpoint_check import check_checkpoint
from server.engine.weights.checkpoint_files import CheckpointError
from tests import ROOT

CONFIG = {
    "model_type": "gpt_neox",
    "vocab_size": 4,
    "hidden_size": 32,
    "num_attention_heads": 2,
    "rotary_pct": 0.25,
    "eos_token_id": 0,
}


def checkpoint(folder: Path, tokens: dict[str, int] | None = None, **changes: Any) -> Path:
    (folder / "config.json").write_text(json.dumps({**CONFIG, **changes}))
    vocabulary = tokens or {"<|endoftext|>": 0, "a": 1, "b": 2, "c": 3}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, "a"))
    tokenizer.add_special_tokens(["<|endoftext|>"])
    tokenizer.save(str(folder / "tokenizer.json"))
    return folder


def test_a_sound_checkpoint_passes(tmp_path: Path) -> None:
    check_checkpoint(checkpoint(tmp_path))
    for name in ("chat", "moderation"):
        check_checkpoint(ROOT / "container" / "demo" / name)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"tokens": {"<|endoftext|>": 0, "a": 1, "new": 9}}, "'new' with id 9, and the embedding has 4 rows"),
        ({"eos_token_id": 2}, "eos_token_id 2 is the ordinary token 'b'"),
        ({"eos_token_id": [0, 3]}, "eos_token_id 3 is the ordinary token 'c'"),
        ({"rotary_pct": 0.0}, "0 values of a head are rotated"),
        ({"rotary_pct": 0.2}, "3 values of a head are rotated, which has to be an even number"),
        ({"model_type": "gptj", "rotary_dim": 7}, "7 values of a head are rotated"),
        ({"model_type": "gptj", "rotary_dim": 0}, "0 values of a head are rotated"),
        ({"model_type": "llama", "hidden_size": 30}, "15 values of a head are rotated"),
        ({"eos_token_id": 4}, "eos_token_id 4 is no token of the model's 4, so no reply would end"),
        ({"eos_token_id": -1}, "eos_token_id -1 is no token of the model's 4"),
        ({"eos_token_id": "</s>"}, "eos_token_id is '</s>', which has to be a token's number or a list of them"),
        ({"eos_token_id": [0, 2.0]}, "which has to be a token's number"),
        ({"eos_token_id": True}, "which has to be a token's number"),
        ({"quantization_config": {"quant_method": "fp8"}}, r"quantised \(fp8\), which is not read: use the original"),
        ({"architectures": ["LlamaForSequenceClassification"]}, "which is no language model"),
    ],
)
def test_a_configuration_that_would_answer_nonsense_is_refused(
    tmp_path: Path, changes: dict[str, Any], said: str
) -> None:
    with pytest.raises(CheckpointError, match=said):
        check_checkpoint(checkpoint(tmp_path, **changes))


def test_an_end_token_of_the_generation_config_counts_too(tmp_path: Path) -> None:
    folder = checkpoint(tmp_path)
    (folder / "generation_config.json").write_text('{"eos_token_id": [0, 1]}')
    with pytest.raises(CheckpointError, match=r"generation_config.json: eos_token_id 1 is the ordinary token 'a'"):
        check_checkpoint(folder)


def test_of_several_end_tokens_one_that_the_model_has_is_enough(tmp_path: Path) -> None:
    folder = checkpoint(tmp_path)
    (folder / "generation_config.json").write_text('{"eos_token_id": [0, 128009]}')
    check_checkpoint(folder)
    assert open_tokenizer(folder, 4).end_tokens == {0}


def test_a_file_with_a_tokenizers_name_that_is_none_is_refused(tmp_path: Path) -> None:
    folder = checkpoint(tmp_path)
    (folder / "tokenizer.json").write_text('{"model": {"type": "BPE", "vocab": {"a": 1}, "merges": ["q r"]}}')
    with pytest.raises(CheckpointError, match="is not a tokenizer: "):
        check_checkpoint(folder)


@pytest.mark.parametrize("name", ["config.json", "tokenizer.json"])
def test_a_byte_order_mark_is_named(tmp_path: Path, name: str) -> None:
    folder = checkpoint(tmp_path)
    (folder / name).write_bytes(codecs.BOM_UTF8 + (folder / name).read_bytes())
    with pytest.raises(CheckpointError, match="begins with a byte-order mark: save it as UTF-8 without one"):
        check_checkpoint(folder)


@pytest.mark.parametrize(
    ("beside", "said"),
    [
        (("vocab.json", "merges.txt"), "only vocab.json and merges.txt: 'python -m deploy package' writes it"),
        (("tokenizer.model",), "only tokenizer.model: 'python -m deploy package' writes it"),
        ((), "fetch it again"),
    ],
)
def test_a_tokenizer_in_an_older_form_is_said_how_to_convert(
    tmp_path: Path, beside: tuple[str, ...], said: str
) -> None:
    folder = checkpoint(tmp_path)
    (folder / "tokenizer.json").unlink()
    for name in beside:
        (folder / name).touch()
    with pytest.raises(CheckpointError, match=said):
        check_checkpoint(folder)


def test_the_container_refuses_what_the_check_finds_and_names_the_setting(tmp_path: Path) -> None:
    folder = checkpoint(tmp_path, eos_token_id=2)
    with pytest.raises(Refusal, match=r"^OCK_CHAT_MODEL: .*eos_token_id 2"):
        check_model("OCK_CHAT_MODEL", folder, 1)
