"""The dtypes that a group can serve in: what it holds its weights as and what it computes in. No torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum
from typing import Literal

DtypeName = Literal["float16", "bfloat16", "float32", "int8", "int4"]


class WeightKind(IntEnum):
    """How a matrix of weights is held. As in server/engine/cpu/native/lanes.h."""

    PLAIN = 0  # in the dtype that is computed in
    INT8 = 1  # a whole number of one byte for each weight, one scale for each output or for each 64 of its weights
    INT4 = 2  # of four bits, a scale and a zero of one byte each for every 32 weights, one scale for each output


KvDtypeName = Literal["auto", "int8"]


def head_kind(kind: WeightKind) -> WeightKind:
    """How the head is held where the layers' matrices are of `kind`: four bits would cost it several per cent."""
    return WeightKind.INT8 if kind is WeightKind.INT4 else kind


class KvKind(IntEnum):
    """How keys and values are held. As in server/engine/cpu/native/lanes.h."""

    PLAIN = 0  # in the dtype that is computed in
    INT8 = 1  # a whole number of one byte for each, one scale for each token's head


KV_KINDS: Mapping[str, KvKind] = {"auto": KvKind.PLAIN, "int8": KvKind.INT8}


def kv_head_bytes(kind: KvKind, head_dim: int, plain_bytes: int) -> int:
    """Bytes of one token's key, or value, of one head, where a value that is held plain has `plain_bytes`."""
    return head_dim + plain_bytes if kind is KvKind.INT8 else head_dim * plain_bytes


def bytes_of(kind: WeightKind, num_weights: int, plain_bytes: int) -> int:
    """Bytes of `num_weights` held as `kind`, where a plain one has `plain_bytes`; the outputs' scales not counted."""
    eighths = {WeightKind.PLAIN: 8 * plain_bytes, WeightKind.INT8: 8, WeightKind.INT4: 4.5}[kind]
    return int(num_weights * eighths / 8)


@dataclass(frozen=True)
class Dtype:
    """One legal value of OCK_DTYPE.

    Attributes:
        compute: torch's name of the dtype of activations, embeddings and vectors.
        compute_bytes: of one such value.
        kind: how matrices are held.
        golden_tolerance: largest difference of a golden prompt's top logits, as a share of their spread.
    """

    compute: Literal["float16", "bfloat16", "float32"]
    compute_bytes: int
    kind: WeightKind
    golden_tolerance: float


# Golden differences measured on one CPU rank over models of 1, 5 and 405 million parameters (the last one random):
# float32 below 0.00001, float16 0.0047, bfloat16 0.012, int8 0.068, int4 0.42. The margin is about five, for deeper
# models; one wrong weight matrix in a small model differs by more than 0.6, which int4 alone would let pass.
DTYPES: Mapping[str, Dtype] = {
    "float16": Dtype("float16", 2, WeightKind.PLAIN, golden_tolerance=0.05),
    "bfloat16": Dtype("bfloat16", 2, WeightKind.PLAIN, golden_tolerance=0.1),
    "float32": Dtype("float32", 4, WeightKind.PLAIN, golden_tolerance=0.001),
    "int8": Dtype("bfloat16", 2, WeightKind.INT8, golden_tolerance=0.4),
    "int4": Dtype("bfloat16", 2, WeightKind.INT4, golden_tolerance=2.0),
}
PACKAGED_DTYPES = tuple(name for name, dtype in DTYPES.items() if dtype.kind is not WeightKind.INT8)
CPU_DTYPES = tuple(name for name in DTYPES if name != "float16")
