"""How many tokens of keys and values each model may keep. No torch: `plan` uses the same numbers."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from server.dtypes import KvKind, kv_head_bytes
from server.engine.weights.head_geometry import HeadGeometry
from server.errors import PassingError

_GPU_SHARE = 0.9  # of what is free after the weights; the rest is the forward pass's workspace
_CPU_SHARE = 0.25  # of the memory that is available after the weights; the front and the page cache live there too
_SCORE_WINDOWS = 4  # texts being classified at once, at full length
_MAX_SCORE_TOKENS = 1 << 15
_MAX_CPU_TOKENS = 1 << 18
MAX_GATHERED_TOKENS = 1 << 15  # that one call of attention over several segments gathers, unless a segment sees more


@dataclass(frozen=True)
class KvShape:
    """What one token's keys and values cost on one rank."""

    layers: int
    heads: HeadGeometry  # this rank's
    bytes_per_value: int  # of what is computed in
    kind: KvKind = KvKind.PLAIN

    @property
    def bytes_per_layer(self) -> int:
        """Keys and values of one token in one layer."""
        return 2 * self.heads.kv_heads * kv_head_bytes(self.kind, self.heads.head_dim, self.bytes_per_value)

    @property
    def bytes_per_token(self) -> int:
        """Keys and values of one token over all layers."""
        return self.layers * self.bytes_per_layer


@dataclass(frozen=True)
class ChatDemand:
    """What the chat model's keys and values should hold, and on what. `plan` and the engine make the same one."""

    wanted: int  # tokens; 0: as many as memory allows and replies can use
    window: int
    max_running: int
    world: int
    on_gpu: bool


def score_tokens(window: int) -> int:
    """Tokens kept for a model that classifies: some windows, or one of a model that reads very long texts."""
    return max(window, min(_SCORE_WINDOWS * window, _MAX_SCORE_TOKENS))


def chat_tokens(demand: ChatDemand, shape: KvShape, beside: Iterable[KvShape], free_bytes: int) -> int:
    """Tokens kept for the chat model: what is wanted, or as many as memory allows and full windows can use.

    `beside` are the other models of the group. `free_bytes` is what is free on this rank's device once all weights and
    the other models' keys and values are there; CPU ranks share it.

    Raises:
        PassingError: not even one full window fits; the sentence gives the numbers.
        ValueError: `wanted` is less than a window.
    """
    window = demand.window
    if demand.wanted:
        if demand.wanted < window:
            raise ValueError(
                f"OCK_KV_CACHE_TOKENS={demand.wanted}: at least one window of {window} tokens is legal, or a "
                "conversation that fills it could never be answered; set a smaller OCK_MAX_CONTEXT_TOKENS, or 0 to "
                "take what memory allows"
            )
        return demand.wanted
    room = _room(demand, [shape, *beside], free_bytes)
    affordable = room // shape.bytes_per_token
    if affordable < window:
        narrower = "OCK_KV_DTYPE=int8, " if shape.kind is KvKind.PLAIN else ""
        raise PassingError(
            f"keys and values of one window of {window} tokens need {window * shape.bytes_per_token >> 20} MiB a rank, "
            f"{room >> 20} MiB are left: use more ranks, {narrower}a smaller OCK_MAX_CONTEXT_TOKENS or a smaller "
            "OCK_MAX_RUNNING"
        )
    useful = (demand.max_running + 1) * window
    return min(affordable, useful) if demand.on_gpu else min(affordable, useful, max(_MAX_CPU_TOKENS, window))


def _room(demand: ChatDemand, shapes: list[KvShape], free_bytes: int) -> int:
    """Bytes on one rank; on a GPU without what a step gathers of one layer of the widest model."""
    if not demand.on_gpu:
        return int(free_bytes * _CPU_SHARE / demand.world)
    widest = max(replace(each, kind=KvKind.PLAIN).bytes_per_layer for each in shapes)  # bytes are widened on the way
    return max(0, int(free_bytes * _GPU_SHARE) - _num_gathered(demand.window, demand.max_running) * widest)


def _num_gathered(window: int, max_running: int) -> int:
    """Tokens whose keys and values of one layer a step on a GPU may gather: a group of chunks, or all that decodes see.

    Decodes gather only where the kernel that reads in place does not work, which is not known yet; they are padded to a
    power of two.
    """
    return max((1 << (max_running - 1).bit_length()) * window, MAX_GATHERED_TOKENS)
