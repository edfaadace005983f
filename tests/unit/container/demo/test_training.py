"""The training loop and both commands, on tiny models."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from transformers import GPTJConfig, GPTJForCausalLM, GPTNeoXConfig, GPTNeoXForCausalLM

from container.demo.data.tokenizer import BOT, HUMAN, train_tokenizer
from container.demo.train import chat as train_chat
from container.demo.train import moderation as train_moderation
from container.demo.train.checkpoint import CheckpointError, open_checkpoint, save_new
from container.demo.train.training import Batch, Options, Trainer

PROSE = "Who is it? It is a small town in the north, known for wooden toys, salted herring and its old lighthouse."


class Counting:
    """Batches of counted tokens; remembers the steps it was asked for."""

    def __init__(self) -> None:
        self.steps: list[int] = []

    def batch(self, step: int) -> Batch:
        self.steps.append(step)
        tokens = (torch.arange(24).view(2, 12) * (step + 3)) % 300
        return Batch(tokens, tokens.roll(-1, 1), torch.ones(2, 12))


def tiny_chat_model() -> GPTNeoXForCausalLM:
    torch.manual_seed(0)
    sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 64}
    return GPTNeoXForCausalLM(GPTNeoXConfig(vocab_size=300, max_position_embeddings=512, **sizes))


@pytest.fixture(scope="module")
def chat_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("chat")
    save_new(tiny_chat_model(), train_tokenizer([PROSE], 300, (HUMAN, BOT)), folder)
    return folder


@pytest.fixture(scope="module")
def moderation_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("moderation")
    config = GPTJConfig(vocab_size=300, n_positions=1024, n_embd=32, n_layer=2, n_head=4, rotary_dim=8)
    save_new(GPTJForCausalLM(config), train_tokenizer([PROSE], 300), folder)
    return folder


class Killed(Exception):
    """Stands for a kill between two saved states."""


def kill_at_third_step(line: str) -> None:
    if line.startswith("step 3 "):
        raise Killed


def trainer(work: Path, batches: Counting) -> Trainer:
    options = Options(minutes=None, steps=8, warmup_steps=2, save_every_s=0, report_every=1)
    return Trainer(tiny_chat_model(), batches, options, work)


def test_a_killed_run_goes_on_with_the_same_batches_and_ends_with_the_same_weights(tmp_path: Path) -> None:
    whole = trainer(tmp_path / "whole", Counting())
    whole.run(lambda line: None)
    batches = Counting()
    with pytest.raises(Killed):
        trainer(tmp_path / "parted", batches).run(kill_at_third_step)
    parted = trainer(tmp_path / "parted", batches)
    parted.run(lambda line: None)
    assert batches.steps == [0, 1, 2, 2, 3, 4, 5, 6, 7]
    expected = whole.model.state_dict()
    assert all(torch.equal(expected[name], value) for name, value in parted.model.state_dict().items())


def test_a_run_is_bounded_by_minutes_or_by_steps() -> None:
    with pytest.raises(ValueError, match="give one of the two"):
        Options(None, None)
    assert Options(2.0, None).progress(step=9, trained_s=30) == 0.25
    assert Options(None, 4).progress(step=1, trained_s=999) == 0.25


def test_chat_training_continues_from_a_checkpoint_on_a_file(
    chat_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = tmp_path / "mine.jsonl"
    data.write_text(json.dumps({"passage": "It is a town.", "question": "What?", "reply": "It is a town."}) + "\n")
    out = tmp_path / "out"
    command = [
        "--init-from",
        str(chat_folder),
        "--data",
        str(data),
        "--out",
        str(out),
        "--work",
        str(tmp_path / "work"),
    ]
    train_chat.main([*command, "--steps", "3", "--batch-tokens", "256"])
    before, _ = open_checkpoint(GPTNeoXForCausalLM, chat_folder)
    after, tokenizer = open_checkpoint(GPTNeoXForCausalLM, out)
    assert not torch.equal(before.lm_head.weight, after.lm_head.weight)
    assert tokenizer.token_to_id(HUMAN) is not None
    assert json.loads((out / "config.json").read_text())["dtype"] == "bfloat16"


def test_moderation_training_continues_from_a_checkpoint_on_a_file(moderation_folder: Path, tmp_path: Path) -> None:
    data = tmp_path / "mine.jsonl"
    data.write_text('{"text": "Good morning", "label": "casual"}\n')
    out = tmp_path / "out"
    command = ["--init-from", str(moderation_folder), "--data", str(data), "--out", str(out)]
    train_moderation.main([*command, "--work", str(tmp_path / "work"), "--steps", "2", "--texts", "4"])
    before, _ = open_checkpoint(GPTJForCausalLM, moderation_folder)
    after, _ = open_checkpoint(GPTJForCausalLM, out)
    assert not torch.equal(before.lm_head.weight, after.lm_head.weight)


def test_a_checkpoint_of_another_family_is_refused(moderation_folder: Path, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="model_type is 'gptj', 'gpt_neox' is needed"):
        open_checkpoint(GPTNeoXForCausalLM, moderation_folder)
    with pytest.raises(CheckpointError, match=r"config\.json is missing"):
        open_checkpoint(GPTNeoXForCausalLM, tmp_path)


def test_a_bad_file_ends_the_command_with_its_sentence(
    chat_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = tmp_path / "mine.jsonl"
    data.write_text('{"question": "Hi"}\n')
    with pytest.raises(SystemExit):
        train_chat.main(["--init-from", str(chat_folder), "--data", str(data), "--steps", "1"])
    assert f"{data}:1: reply is null, a text that is not empty is needed" in capsys.readouterr().err
