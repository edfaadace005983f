from __future__ import annotations

import argparse
import dataclasses
import json
import re
from pathlib import Path

import pytest

from container.cli import main
from container.defaults import Places
from container.machine.facts import MIB, Gpu, Machine
from container.machine.memory import judge_bytes
from container.machine.plan import GIB, Plan, Request, make_plan
from container.machine.plan_command import add_plan_arguments, run_plan
from container.machine.preflight import check_machine
from container.machine.shapes import CHAT_20B, MODERATION_6B, read_shape
from container.refusal import Refusal
from server.config import Settings
from server.retrieval.encoder.source import encoder_path

PRODUCTION = Request(
    chat=read_shape("--chat", CHAT_20B),
    moderation=(read_shape("--moderation", MODERATION_6B),),
    world=4,
    dtype="float16",
    device="cuda",
    device_name="a10g",
    device_bytes=23028 * MIB,
    max_running=32,
    max_step_tokens=512,
)


def size(plan: Plan, start: str) -> float:
    """GB of the one item whose description starts like that."""
    (item,) = [item for item in plan.items if item.what.startswith(start)]
    return item.size / 1e9


def test_the_production_models_fit_four_a10g_with_several_full_sequences() -> None:
    plan = make_plan(PRODUCTION)
    assert size(plan, "chat weights") == pytest.approx(10.7, abs=0.1)
    assert size(plan, "moderation weights") == pytest.approx(3.3, abs=0.1)
    assert plan.kv_per_token * 4 == pytest.approx(1.08e6, rel=0.01)
    assert 4 <= plan.num_sequences <= 16
    assert plan.left >= 0


def test_one_window_is_the_least_that_must_fit() -> None:
    with pytest.raises(Refusal, match=r"^a10g has 22\.5 GiB and .* GiB are needed before any keys and values"):
        make_plan(dataclasses.replace(PRODUCTION, world=1))


def test_more_ranks_than_heads_are_refused() -> None:
    with pytest.raises(
        Refusal, match=r"degree 17, togethercomputer/GPT-JT.*: its 16 attention heads do not reach for 17"
    ):
        make_plan(dataclasses.replace(PRODUCTION, world=17))


def test_where_ranks_do_not_divide_the_heads_the_largest_share_is_planned() -> None:
    even, uneven = (make_plan(dataclasses.replace(PRODUCTION, world=world)) for world in (4, 3))
    assert uneven.kv_per_token * 16 == even.kv_per_token * 22  # of 64 heads


def test_int8_weighs_about_half_of_float16() -> None:
    full, half = (make_plan(dataclasses.replace(PRODUCTION, dtype=dtype)) for dtype in ("float16", "int8"))
    # The embedding stays as it is.
    assert size(half, "chat weights") == pytest.approx((size(full, "chat weights") + 0.62) / 2, rel=0.02)


def test_int4_weighs_four_and_a_half_bits_a_weight_and_a_byte_in_the_head() -> None:
    full, four = (make_plan(dataclasses.replace(PRODUCTION, dtype=dtype)) for dtype in ("float16", "int4"))
    embedding, head = 0.62, 0.62 / 4
    layers = size(full, "chat weights") - embedding - head
    assert size(four, "chat weights") == pytest.approx(layers * 4.5 / 16 + embedding + head / 2, rel=0.02)


def test_the_production_models_fit_one_a10g_with_weights_of_four_bits_and_keys_and_values_of_one_byte() -> None:
    plan = make_plan(dataclasses.replace(PRODUCTION, world=1, dtype="int4", kv_dtype="int8"))
    assert plan.num_sequences >= 2
    assert plan.left >= 0


def test_where_plain_keys_and_values_do_not_fit_narrower_ones_are_named(capsys) -> None:
    assert main(["plan", "--gpu", "a10g", "--count", "1", "--dtype", "int4"]) == 2
    assert "are left: use more ranks, OCK_KV_DTYPE=int8, a smaller" in capsys.readouterr().err


def test_the_production_models_fit_a_machine_of_64_gib_without_gpus_with_weights_of_four_bits(capsys) -> None:
    assert main(["plan", "--host-gib", "64", "--count", "2", "--dtype", "int4"]) == 0
    table = capsys.readouterr().out
    assert table.startswith("2 ranks on a machine of 64 GiB, int4\n")
    (sequences,) = re.findall(r"^(\d+) full sequences of 2048 tokens", table, re.MULTILINE)
    assert int(sequences) >= 4
    (host,) = re.findall(r"^host memory ([\d.]+) GiB", table, re.MULTILINE)
    assert float(host) < 64


def test_a_smaller_context_makes_room_for_more_sequences() -> None:
    whole = make_plan(PRODUCTION)
    short = make_plan(dataclasses.replace(PRODUCTION, max_context_tokens=1024))
    assert short.num_sequences >= 2 * whole.num_sequences - 1


def test_a_model_of_another_architecture_is_refused_by_name(tmp_path, capsys) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    assert main(["plan", "--gpu", "a10g", "--chat", str(tmp_path)]) == 2
    assert (
        "model_type 'bert' cannot be planned; legal are gpt_neox, gptj, llama, mistral, qwen2"
        in capsys.readouterr().err
    )


def test_the_verb_prints_the_plan_of_the_production_models_offline(monkeypatch, capsys) -> None:
    monkeypatch.delenv("OCK_CHAT_MODEL", raising=False)
    assert main(["plan", "--gpu", "a10g", "--count", "4"]) == 0
    table = capsys.readouterr().out
    assert table.startswith("4 x a10g, float16\n")
    assert "12 full sequences of 2048 tokens fit at once (264 KiB a token and GPU" in table
    assert "host memory 2.1 GiB, /dev/shm 0 MiB\n" in table


@pytest.mark.parametrize(("device", "world"), [("cuda", 4), ("cuda", 1), ("cpu", 2), ("cpu", 1)])
def test_preflight_is_content_with_the_shared_memory_of_the_plan_and_with_no_less(device: str, world: int) -> None:
    plan = make_plan(dataclasses.replace(PRODUCTION, world=world, device=device, device_bytes=200 * GIB))
    gpus = (Gpu("NVIDIA A10G", 23028 * MIB, "580.95.05"),) * world
    settings = Settings.model_validate({"host": "127.0.0.1", "port": 41024, "tensor_parallel_degree": world})

    def complaint(shm_bytes: int) -> str:
        try:
            return "".join(check_machine(settings, Machine(world, 16 * GIB, shm_bytes, gpus), device))
        except Refusal as refusal:
            return str(refusal)

    assert complaint(plan.shm_bytes) == ""
    assert plan.shm_bytes == 0 or "/dev/shm" in complaint(plan.shm_bytes - 1)


def plan_of_mounts(environ: dict[str, str], places: Places) -> int:
    parser = argparse.ArgumentParser()
    add_plan_arguments(parser)
    return run_plan(parser.parse_args(["--gpu", "a10g", "--count", "4"]), environ, places)


def test_a_mounted_model_is_planned_as_it_is_served(tmp_path: Path, capsys) -> None:
    mounted, demo = tmp_path / "ml" / "model", tmp_path / "demo"
    for folder, layers in ((mounted, 6), (demo / "chat", 3)):
        folder.mkdir(parents=True)
        sizes = {"num_hidden_layers": layers, "hidden_size": 256, "num_attention_heads": 4, "vocab_size": 1000}
        (folder / "config.json").write_text(json.dumps({"model_type": "gpt_neox", **sizes}))
    assert plan_of_mounts({}, Places(tmp_path / "ml", demo)) == 0
    table = capsys.readouterr().out
    assert f"chat weights, {mounted}" in table
    assert "moderation" not in table  # none is mounted, so none is served
    assert plan_of_mounts({"OCK_CHAT_MODEL": str(demo / "chat")}, Places(tmp_path / "ml", demo)) == 0
    assert f"chat weights, {demo / 'chat'}" in capsys.readouterr().out


def test_the_demo_is_never_planned_for(tmp_path: Path, capsys) -> None:
    (tmp_path / "demo" / "chat").mkdir(parents=True)
    (tmp_path / "demo" / "chat" / "config.json").write_text("{}")
    assert plan_of_mounts({}, Places(tmp_path / "ml", tmp_path / "demo")) == 0
    assert f"chat weights, {CHAT_20B}" in capsys.readouterr().out


def test_the_second_judge_of_the_demo_s_policy_is_counted() -> None:
    demo = Path(__file__).parents[4] / "container" / "demo" / "moderation"
    settings = Settings(moderation_model=str(demo), policy=demo / "policy.toml", encoder="sample")
    weights = (Path(encoder_path("sample")) / "model.safetensors").stat().st_size
    taught = 4 * 4 * (4 * 384 * 384 + 2 * 384 * 1536)  # float32, four layers, six matrices each
    assert judge_bytes(settings, on_gpu=False) == taught  # its encoder is the one that searches
    assert judge_bytes(settings, on_gpu=True) == taught + weights
    assert judge_bytes(settings.model_copy(update={"policy": None}), on_gpu=False) == 0
    assert judge_bytes(settings.model_copy(update={"moderation": "off"}), on_gpu=False) == 0
    without, beside = (make_plan(dataclasses.replace(PRODUCTION, judge_bytes=size)) for size in (0, 100 * MIB))
    assert beside.host_bytes - without.host_bytes == 100 * MIB
