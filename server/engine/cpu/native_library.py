"""The native kernels as Python sees them: structures and functions of `native/kernels.cpp`."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from ctypes import POINTER, Structure, c_double, c_float, c_int, c_int32, c_int64, c_void_p
from pathlib import Path
from typing import Any

import torch  # noqa: F401 - loads the OpenMP runtime that the kernels share with it

from server.dtypes import WeightKind
from server.engine.cpu.build import BuildError, library
from server.engine.parallel.processor import Level, processor_level

_SEGMENT_BYTES = 6 * ctypes.sizeof(c_int32)  # `StepSegment` of model.h, as native_layout.py lays it out


class ConfigStruct(Structure):
    """`Config` of model.h."""

    _fields_ = [
        *(
            (name, c_int32)
            for name in (
                *("hidden", "heads", "kv_heads", "head_size", "rotary", "interleaved", "inner", "vocabulary"),
                *("head_from", "head_inputs", "positions", "weight_kind", "activation", "gated", "parallel", "norms"),
                *("rms", "level"),
            )
        ),
        ("epsilon", c_float),
        ("scale", c_float),
    ]


class LayerStruct(Structure):
    """`LayerWeights` of model.h."""

    _fields_ = [
        (name, c_void_p)
        for name in (
            *("qkv", "dense", "up", "down", "qkv_bias", "dense_bias", "up_bias", "down_bias"),
            *("norm_weight", "norm_bias", "second_norm_weight", "second_norm_bias"),
        )
    ]


class ModelStruct(Structure):
    """`ModelWeights` of model.h."""

    _fields_ = [(name, c_void_p) for name in ("embedding", "head", "norm_weight", "norm_bias", "cosines", "sines")]


class NativeLibrary:
    """The functions of the compiled kernels.

    They keep the interpreter's lock: a layer takes a millisecond or so, and waiting for the lock after each one while
    another thread runs Python would cost more. The all-reduce between two layers gives it up.
    """

    def __init__(self, path: Path) -> None:
        functions = ctypes.PyDLL(str(path))
        pointer = c_void_p
        sizes = (c_int32 * 4)()
        _declare(functions.ock_struct_bytes, [c_void_p], None)(sizes)
        ours = [*(ctypes.sizeof(each) for each in (ConfigStruct, ModelStruct, LayerStruct)), _SEGMENT_BYTES]
        assert list(sizes) == ours, f"structures of model.h have {list(sizes)} bytes, ours {ours}"
        self._read_bandwidth = _declare(functions.ock_read_bandwidth, [c_int64, c_int], c_double)
        self._product_rate = _declare(functions.ock_product_rate, [c_int, c_int, c_int], c_double)
        self._product_seconds = _declare(functions.ock_product_seconds, [c_int, c_int, c_int, c_int], c_double)
        self.model_new = _declare(functions.ock_model_new, [POINTER(ConfigStruct), POINTER(ModelStruct)], pointer)
        self.model_free = _declare(functions.ock_model_free, [pointer], None)
        self.add_layer = _declare(functions.ock_add_layer, [pointer, POINTER(LayerStruct)], c_int)
        self.allocate = _declare(functions.ock_allocate, [pointer, c_int, c_int], c_int)
        self.begin = _declare(functions.ock_begin, [pointer, c_int, *[pointer] * 4, c_int], None)
        self.layer = _declare(functions.ock_layer, [pointer, c_int, pointer], None)
        self.attend = _declare(functions.ock_attend, [pointer, c_int, pointer], None)
        self.feed = _declare(functions.ock_feed, [pointer, c_int, pointer], None)
        self.head = _declare(functions.ock_head, [pointer, pointer, pointer, c_int, pointer], None)

    def read_bandwidth(self, num_bytes: int, repeats: int = 5) -> float:
        """Bytes a second that this process's threads read from memory together, the best of `repeats` passes."""
        return float(self._read_bandwidth(num_bytes, repeats))

    def product_rate(self, kind: WeightKind, level: Level, repeats: int = 5) -> float:
        """Products a second of this process's threads together, with weights of `kind` that are in the cache."""
        return float(self._product_rate(kind, level, repeats))

    def product_seconds(self, kind: WeightKind, level: Level, rows: int, repeats: int = 8) -> float:
        """Processor seconds of this thread for `rows` rows by a matrix of 4096 by 1024 weights out of memory."""
        return float(self._product_seconds(kind, level, rows, repeats))


def _declare(function: Any, arguments: list[Any], result: Any) -> Callable[..., Any]:
    function.argtypes, function.restype = arguments, result
    return function


def open_library(level: Level) -> NativeLibrary:
    """The kernels for `level`, compiled if they are not yet.

    Raises:
        BuildError: they cannot be compiled, loaded or run on this processor.
    """
    if not Level.NONE < level <= processor_level():
        raise BuildError("this processor has neither AVX2 nor AVX-512 with VNNI")
    try:
        return NativeLibrary(library(level))
    except OSError as error:
        raise BuildError(f"the compiled kernels cannot be loaded ({error})") from error
