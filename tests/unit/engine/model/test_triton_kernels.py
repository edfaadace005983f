"""The GPU's kernels without a GPU: what they compute, by Triton's interpreter, and that they compile for its chips."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from server.engine.model import triton_decode, triton_int4, triton_int8

CHIPS = (80, 86, 89, 90)  # A100, A10G, L4, H100
POINTER = {torch.float32: "*fp32", torch.float16: "*fp16", torch.bfloat16: "*bf16"}


def test_they_compute_what_torch_computes() -> None:
    cases = Path(__file__).with_name("interpreted_kernels.py")
    environ = {**os.environ, "TRITON_INTERPRET": "1"}  # read when Triton is imported
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(cases)]
    ran = subprocess.run(command, env=environ, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stdout[-6000:] + ran.stderr[-2000:]
    assert "passed" in ran.stdout


def compiled(kernel: object, chip: int, signature: dict[str, str], constants: dict[str, int]) -> str:
    """The kernel's PTX; its machine code is made too."""
    full = {**signature, **dict.fromkeys(constants, "constexpr")}
    made = triton.compile(ASTSource(kernel, full, constexprs=constants), target=GPUTarget("cuda", chip, 32))
    assert made.asm["cubin"]
    return made.asm["ptx"]


@pytest.mark.parametrize("chip", CHIPS)
def test_the_decode_kernels_compile(chip: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(triton.knobs.cache, "dir", str(tmp_path))
    counts = dict.fromkeys(("longest", "heads", "kv_heads", "num_runs"), "i32")
    sums = dict.fromkeys(("seen", "peaks", "sums"), "*fp32")
    cases = ((torch.bfloat16, 96, 128, 1), (torch.float16, 256, 256, 0), (torch.float32, 64, 64, 0))
    for dtype, head_dim, head_tile, rounded in cases:
        inputs = {"query": POINTER[dtype], **dict.fromkeys(("keys", "values"), "*i8" if rounded else POINTER[dtype])}
        kv_scales = dict.fromkeys(("key_scales", "value_scales"), POINTER[dtype])
        shape = {"head_dim": head_dim, "head_tile": head_tile, "run": triton_decode.RUN}
        places = {"slots": "*i64", "num_visible": "*i64"}
        compiled(
            triton_decode.attend_runs, chip, {**inputs, **kv_scales, **places, **sums, "scale": "fp32", **counts},
            {**shape, "tile": triton_decode.TILE, "rounded": rounded},
        )  # fmt: skip
        counts_of_merge = {"heads": "i32", "num_runs": "i32"}
        signature = {**sums, "num_visible": "*i64", "out": POINTER[dtype], **counts_of_merge}
        compiled(triton_decode.merge_runs, chip, signature, shape)


@pytest.mark.parametrize("chip", CHIPS)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_the_int8_kernel_compiles_to_tensor_core_products(
    chip: int, dtype: torch.dtype, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(triton.knobs.cache, "dir", str(tmp_path))
    pointers = {"x": POINTER[dtype], "weight": "*i8", "scales": POINTER[dtype], "y": POINTER[dtype]}
    counts = dict.fromkeys(("num_rows", "num_outputs", "num_inputs"), "i32")
    tiles = {
        "row_tile": triton_int8.ROW_TILE, "output_tile": triton_int8.OUTPUT_TILE, "input_tile": triton_int8.INPUT_TILE
    }  # fmt: skip
    assert "mma.sync" in compiled(triton_int8.multiply, chip, {**pointers, **counts}, tiles)


@pytest.mark.parametrize("chip", CHIPS)
def test_the_int4_kernel_compiles_to_tensor_core_products(
    chip: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(triton.knobs.cache, "dir", str(tmp_path))
    bytes_ = dict.fromkeys(("halves", "steps", "zeros"), "*u8")
    pointers = {"x": "*bf16", **bytes_, "scales": "*fp32", "y": "*bf16"}
    counts = dict.fromkeys(("num_rows", "num_outputs", "num_inputs", "num_groups"), "i32")
    tiles = {
        "row_tile": triton_int4.ROW_TILE, "output_tile": triton_int4.OUTPUT_TILE, "input_tile": triton_int4.INPUT_TILE
    }  # fmt: skip
    assert "mma.sync" in compiled(triton_int4.multiply_int4, chip, {**pointers, **counts}, tiles)
