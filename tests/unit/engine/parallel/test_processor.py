"""A processor's level is the highest whose instructions it has all of."""

from __future__ import annotations

import pytest

from server.engine.parallel.processor import Level, level_of

AVX2 = {"sse4_2", "avx2", "fma"}
VNNI = AVX2 | {"avx512f", "avx512bw", "avx512vl", "avx512dq", "avx512_vnni"}
BF16 = VNNI | {"avx512_bf16"}
AMX = BF16 | {"amx_tile", "amx_bf16", "amx_int8"}


@pytest.mark.parametrize(
    ("flags", "level"),
    [
        ({"sse4_2"}, Level.NONE),
        (AVX2 - {"fma"}, Level.NONE),
        (AVX2, Level.AVX2),
        (VNNI - {"avx512_vnni"}, Level.AVX2),
        (VNNI, Level.VNNI),
        (VNNI | {"amx_tile", "amx_bf16", "amx_int8"}, Level.VNNI),
        (BF16, Level.BF16),
        (AMX, Level.AMX),
    ],
)
def test_a_level_needs_its_own_instructions_and_those_of_every_level_below(flags: set[str], level: Level) -> None:
    assert level_of(flags) is level
