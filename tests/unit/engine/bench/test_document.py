"""BENCH.md holds the figures of its files and nothing else."""

from __future__ import annotations

import json
from pathlib import Path

from server.engine.bench.document import DOCUMENT, remade

ROW = {
    "batch": 4, "decode_tokens_per_s": 90.0, "decode_limit_tokens_per_s": 120.0, "decode_limited_by": "reading",
    "prefill_tokens_per_s": 600.0, "prefill_limit_tokens_per_s": 800.0, "time_to_first_token_s": 0.25,
}  # fmt: skip
REPORT = {
    "command": "python -m server.engine.bench --random x", "machine": {"cpu": "EPYC", "cores": 2}, "date": "2026-11-28",
    "dtype": "int8", "tensor_parallel_degree": 2, "versions": {"torch": "2.13.0"}, "products_per_s": 80e9,
    "read_bandwidth_bytes_per_s": 20e9, "sampling": {"do_sample": True, "temperature": 0.6, "top_k": 40},
    "results": [ROW], "compare": {"vllm": [{**ROW, "decode_tokens_per_s": 45.0, "prefill_tokens_per_s": 300.0}]},
}  # fmt: skip


def test_a_mark_gets_the_figures_of_its_file_and_the_text_around_it_stays(tmp_path: Path) -> None:
    (tmp_path / "one.json").write_text(json.dumps(REPORT), "utf-8")
    made = remade("before\n<!-- figures one -->\nold\n<!-- end -->\nafter\n", tmp_path)
    assert made.startswith("before\n")
    assert made.endswith("\nafter\n")
    assert "old" not in made
    assert "| 4 | 90.0 | 0.75 (reading) | 600 | 0.75 | 0.250 |" in made
    assert "| 4 | 45.0 | 2.00 | 300.0 | 2.00 |" in made
    assert "EPYC, 2 cores, 2026-11-28; int8, 2 ranks, temperature 0.6, top_k 40; torch 2.13.0" in made
    assert remade(made, tmp_path) == made


def test_the_document_is_what_its_command_writes() -> None:
    text = DOCUMENT.read_text("utf-8")
    assert remade(text) == text
