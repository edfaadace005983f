"""A group that reads packaged folders says what the checkpoints say, and does not start over a damaged one."""

from __future__ import annotations

import random
import shutil
import uuid
from pathlib import Path

import msgspec
import pytest

from server import wire
from server.engine.weights.manifest import encode_manifest
from tests.process.engine.engine_group import EngineGroup
from tests.process.engine.package.package_folders import Packaged, start_in_vain
from tests.process.engine.small_models import VOCAB_SIZE, WINDOW, greedy, log_probs


def prompt_of(length: int) -> list[int]:
    return random.Random(length).choices(range(1, VOCAB_SIZE), k=length)


def test_the_packaged_chat_model_gives_the_greedy_tokens_of_its_checkpoint(group: EngineGroup, neox: Packaged) -> None:
    for length in (1, 30, WINDOW - 8):
        tokens, _ = group.reply(prompt_of(length), 8)
        assert tokens == greedy(neox.model, prompt_of(length), 8), length


def test_the_packaged_moderation_model_gives_the_scores_of_its_checkpoint(group: EngineGroup, gptj: Packaged) -> None:
    prefix, text, candidates = tuple(prompt_of(9)), tuple(prompt_of(21)), ((4, 5), (6,))
    request = wire.Score(uuid.uuid4().hex, wire.INPUT_MODERATION, prefix, text, (), candidates)
    (scored,) = group.client.score([request])
    expected = [sum(log_probs(gptj.model, [*prefix, *text], candidate)) for candidate in candidates]
    assert [sum(each) for each in scored.log_probs[0]] == pytest.approx(expected, abs=1e-3)


def test_every_rank_finds_both_packages_golden(group: EngineGroup) -> None:
    log = group.log_path.read_text("utf-8")
    assert log.count("golden.matched model=chat") == 2
    assert log.count("golden.matched model=input_moderation") == 2


def test_a_byte_flipped_in_one_rank_s_file_ends_the_start_of_the_whole_group(neox: Packaged, tmp_path: Path) -> None:
    folder = tmp_path / "damaged"
    shutil.copytree(neox.folder, folder)
    path = folder / "rank-1.safetensors"
    content = bytearray(path.read_bytes())
    content[-100] ^= 1
    path.write_bytes(content)
    (first_status, first), (second_status, second) = start_in_vain(folder, tmp_path / "run")
    assert (first_status, second_status) == (2, 2)
    assert f"engine rank 1: {path} is damaged: its sha256 is" in second
    assert "engine rank 0: another rank found a damaged file and says which" in first


def test_a_group_that_does_not_say_what_the_reference_said_does_not_start(neox: Packaged, tmp_path: Path) -> None:
    folder = tmp_path / "damaged"
    shutil.copytree(neox.folder, folder)
    golden = neox.manifest.golden
    assert golden is not None
    prompt = golden.prompts[2]
    logits = (prompt.top_logits[0] + prompt.spread / 10, *prompt.top_logits[1:])
    prompts = (*golden.prompts[:2], msgspec.structs.replace(prompt, top_logits=logits), *golden.prompts[3:])
    damaged = msgspec.structs.replace(neox.manifest, golden=msgspec.structs.replace(golden, prompts=prompts))
    (folder / "manifest.json").write_bytes(encode_manifest(damaged))
    for status, output in start_in_vain(folder, tmp_path / "run"):
        assert status == 2
        sentence = output.strip().splitlines()[-1]
        assert "model 'chat' does not say what its reference said" in sentence
        assert "haiku about the sea" in sentence
        assert f"should be {logits[0]:.4f}" in sentence
        assert "tolerated is 0.001" in sentence
        assert sentence.endswith(f"Suspect OCK_CHAT_MODEL={folder}")
