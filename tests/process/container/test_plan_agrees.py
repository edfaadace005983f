from __future__ import annotations

import json
import math
import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from transformers import AutoModelForCausalLM, GPTJConfig, GPTNeoXConfig

from container.machine.facts import MIB
from container.machine.plan import Plan, Request, make_plan
from container.machine.shapes import read_shape, shape_of
from container.machine.shared_memory import unlink_segments
from container.supervision.commands import Commands
from container.supervision.engine_group import RankPlace
from server.engine.weights.cut_plan import plan_cuts
from server.ports import free_loopback_port
from tests.process.container.supervised import wait_until

CONFIGS = {
    "neox-20b": {
        "model_type": "gpt_neox",
        "num_hidden_layers": 44,
        "hidden_size": 6144,
        "num_attention_heads": 64,
        "intermediate_size": 24576,
        "vocab_size": 50432,
    },
    "gptj-6b": {"model_type": "gptj", "n_layer": 28, "n_embd": 4096, "n_head": 16, "vocab_size": 50400},
    "smollm2": {
        "model_type": "llama",
        "num_hidden_layers": 30,
        "hidden_size": 576,
        "num_attention_heads": 9,
        "num_key_value_heads": 3,
        "intermediate_size": 1536,
        "vocab_size": 49152,
        "tie_word_embeddings": True,
    },
}


@pytest.mark.parametrize(("name", "world"), [("neox-20b", 4), ("gptj-6b", 4), ("smollm2", 2)])
def test_weights_of_a_rank_are_what_autotp_gives_it(name: str, world: int, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps(CONFIGS[name]))
    cuts = plan_cuts(tmp_path, world)
    values = sum(math.prod(parameter.share_shape(0)) for parameter in cuts.values())
    planned = shape_of("config", name, CONFIGS[name]).share(world, "float16").weights
    assert planned == pytest.approx(2 * values, rel=1e-6)


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Random models whose tensors outweigh the libraries' own memory enough to be told apart."""
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("models")
    chat = GPTNeoXConfig(
        vocab_size=16000,
        hidden_size=768,
        intermediate_size=3072,
        num_hidden_layers=8,
        num_attention_heads=12,
        max_position_embeddings=256,
    )
    moderation = GPTJConfig(vocab_size=8000, n_embd=512, n_layer=4, n_head=8, rotary_dim=32, n_positions=256)
    for name, config in (("chat", chat), ("moderation", moderation)):
        AutoModelForCausalLM.from_config(config, dtype=torch.float32).save_pretrained(folder / name)
        Tokenizer(WordLevel({"a": 0}, unk_token="a")).save(str(folder / name / "tokenizer.json"))
    return {"chat": folder / "chat", "moderation": folder / "moderation"}


def any_ended(processes: list[subprocess.Popen[bytes]]) -> bool:
    return any(each.poll() is not None for each in processes)


@pytest.fixture
def ranks(checkpoints: dict[str, Path], tmp_path: Path) -> Iterator[list[int]]:
    """The process ids of a real, ready group of two float32 ranks."""
    settings = {
        "OCK_CHAT_MODEL": str(checkpoints["chat"]),
        "OCK_MODERATION_MODEL": str(checkpoints["moderation"]),
        "OCK_TENSOR_PARALLEL_DEGREE": "2",
        "OCK_DTYPE": "float32",
        "OCK_DEVICE": "cpu",
        "OCK_RUN_DIR": str(tmp_path),
    }
    commands = Commands({**os.environ, **settings}, 2, "cpu", 2)
    port = free_loopback_port()
    log = (tmp_path / "log").open("w")
    started = []
    for rank in range(2):
        command = commands.rank(RankPlace(rank, 1, port))
        started.append(subprocess.Popen(command.argv, env=dict(command.environ), stdout=log, stderr=log))
    try:
        wait_until(
            lambda: (tmp_path / "engine.ready").exists() or any(each.poll() is not None for each in started), 120
        )
        assert all(each.poll() is None for each in started), (tmp_path / "log").read_text()
        yield [each.pid for each in started]
    finally:
        for each in started:
            each.kill()
            each.wait()
        unlink_segments(port, 2)


def plan_of(checkpoints: dict[str, Path]) -> Plan:
    request = Request(
        chat=read_shape("--chat", str(checkpoints["chat"])),
        moderation=(read_shape("--moderation", str(checkpoints["moderation"])),),
        world=2,
        dtype="float32",
        device="cpu",
        device_name="this machine",
        device_bytes=os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        max_running=32,
        max_step_tokens=512,
    )
    return make_plan(request)


def anonymous_bytes(pid: int) -> int:
    rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
    match = re.search(r"^Anonymous: +(\d+) kB", rollup, re.MULTILINE)
    assert match
    return int(match[1]) * 1024


def test_the_plan_is_within_a_tenth_of_what_each_rank_of_a_group_holds(
    checkpoints: dict[str, Path], ranks: list[int]
) -> None:
    plan = plan_of(checkpoints)
    held = [anonymous_bytes(pid) for pid in ranks]
    assert held == pytest.approx([plan.used, plan.used], rel=0.1), [each // MIB for each in (*held, plan.used)]
