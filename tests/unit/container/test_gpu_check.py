from __future__ import annotations

import json
from pathlib import Path

import pytest

from container.gpu_check import Part, Try, as_markdown, main, plan_beside_truth, run, tries
from container.machine.facts import Gpu

A10G, H100 = Gpu("NVIDIA A10G", 23028 * 2**20, "580.95.05"), Gpu("NVIDIA H100", 81559 * 2**20, "580.95.05")
FOUND = {
    "results": [{"batch": 1, "decode_tokens_per_s": 101.5, "time_to_first_token_s": 0.02}],
    "compare": {"transformers": [{"batch": 1, "decode_tokens_per_s": 40.0, "time_to_first_token_s": 0.05}]},
    "read_limit_fraction": 0.61,
}


def test_a_20b_model_is_tried_where_it_fits_and_each_way_of_the_kernels_everywhere() -> None:
    names = [each.name for each in tries(A10G)]
    assert names == ["tests", "bfloat16", "no-overlap", "torch-kernels", "int8", "int4"]
    assert [each.name for each in tries(H100)] == [*names, "20b"]


def test_a_part_that_fails_or_takes_too_long_says_so_and_the_next_goes_on(tmp_path: Path) -> None:
    assert run(Try("fails", ("-c", "raise SystemExit(3)")), tmp_path).status == 3
    assert (
        run(Try("hangs", ("-c", "import time; time.sleep(9)"), limit_s=0.2), tmp_path).status == "stopped after 0.2 s"
    )
    assert run(Try("well", ("-c", "print('hello')")), tmp_path).status == 0
    assert (tmp_path / "well.log").read_text() == "hello\n"


def test_the_report_names_card_and_driver_and_puts_the_rival_beside() -> None:
    part = {"name": "bfloat16", "status": 0, "seconds": 61.2, "log": "bfloat16.log", "found": FOUND}
    gpu = {"name": "NVIDIA H100", "memory_bytes": 81559 * 2**20, "driver": "580.95.05"}
    text = as_markdown({"gpus": [gpu], "versions": {"torch": "2.13.0"}, "parts": [part], "memory": {}})
    assert text.startswith("# NVIDIA H100 (81559 MiB), driver 580.95.05\n")
    assert "| bfloat16 | 1 | 102 | 0.02 | 0.61 |" in text
    assert "| bfloat16 transformers | 1 | 40 | 0.05 |  |" in text


def test_the_planned_weights_stand_beside_what_was_taken(tmp_path: Path) -> None:
    (tmp_path / "small").mkdir()
    sizes = {"hidden_size": 1024, "num_hidden_layers": 4, "num_attention_heads": 8, "vocab_size": 50304}
    (tmp_path / "small" / "config.json").write_text(json.dumps({"model_type": "gpt_neox", **sizes}))
    found = {"model": "small", "dtype": "bfloat16", "peak_memory_bytes": 700 * 2**20}
    (compared,) = plan_beside_truth([Part("bfloat16", 0, 1.0, "", found), Part("tests", 0, 1.0, "")], tmp_path).values()
    assert compared["peak_mib"] == 700
    assert 280 < compared["planned_weights_mib"] < 300  # 4 x 12 x 1024^2 and two embeddings, two bytes each


def test_without_a_card_nothing_is_claimed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert main(["--out", str(tmp_path / "out")]) == 2
    assert "no card" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
