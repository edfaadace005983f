"""How many tokens of keys and values each model may keep. No torch: `plan` uses the same numbers."""

from __future__ import annotations

from dataclasses import dataclass

from server.errors import PassingError

_GPU_SHARE = 0.9  # of what is free after the weights; the rest is the forward pass's workspace
_CPU_SHARE = 0.25  # of the memory that is available after the weights; the front and the page cache live there too
_SCORE_WINDOWS = 4  # texts being classified at once, at full length
_MAX_CPU_TOKENS = 1 << 18
MAX_GATHERED_TOKENS = 1 << 15  # that one call of attention over several segments gathers, unless a segment sees more


@dataclass(frozen=True)
class KvShape:
    """What one token's keys and values cost on one rank."""

    layers: int
    heads: int  # this rank's
    head_dim: int
    bytes_per_value: int

    @property
    def bytes_per_layer(self) -> int:
        """Keys and values of one token in one layer."""
        return 2 * self.heads * self.head_dim * self.bytes_per_value

    @property
    def bytes_per_token(self) -> int:
        """Keys and values of one token over all layers."""
        return self.layers * self.bytes_per_layer


def score_tokens(window: int) -> int:
    """Tokens kept for a model that classifies."""
    return _SCORE_WINDOWS * window


def chat_tokens(
    wanted: int,
    window: int,
    max_running: int,
    shape: KvShape,
    free_bytes: int,
    ranks_beside: int,
    *,
    on_gpu: bool,
    widest: int = 0,
) -> int:
    """Tokens kept for the chat model: `wanted`, or as many as memory allows and `max_running` full windows can use.

    `free_bytes` is what is free on this rank's device, `ranks_beside` how many ranks share it (1 on a GPU of its own),
    `widest` the `bytes_per_layer` of the group's widest model.

    Raises:
        PassingError: not even one full window fits; the sentence gives the numbers.
        ValueError: `wanted` is less than a window.
    """
    if wanted:
        if wanted < window:
            raise ValueError(
                f"OCK_KV_CACHE_TOKENS={wanted}: at least one window of {window} tokens is legal, or a conversation "
                "that fills it could never be answered; set a smaller OCK_MAX_CONTEXT_TOKENS, or 0 to take what "
                "memory allows"
            )
        return wanted
    room = int(free_bytes * (_GPU_SHARE if on_gpu else _CPU_SHARE) / ranks_beside)
    if on_gpu:
        room = max(0, room - _num_gathered(window, max_running) * max(widest, shape.bytes_per_layer))
    affordable = room // shape.bytes_per_token
    if affordable < window:
        raise PassingError(
            f"keys and values of one window of {window} tokens need {window * shape.bytes_per_token >> 20} MiB a rank, "
            f"{room >> 20} MiB are left: use more ranks, a smaller OCK_MAX_CONTEXT_TOKENS or a smaller OCK_MAX_RUNNING"
        )
    useful = (max_running + 1) * window
    return min(affordable, useful) if on_gpu else min(affordable, useful, max(_MAX_CPU_TOKENS, window))


def _num_gathered(window: int, max_running: int) -> int:
    """Tokens whose keys and values of one layer a step on a GPU may gather: a group of chunks, or all that decodes see.

    Decodes gather only where the kernel that reads in place does not work, which is not known yet; they are padded to a
    power of two.
    """
    return max((1 << (max_running - 1).bit_length()) * window, MAX_GATHERED_TOKENS)
