"""The memory plan of a group, worked out from the configs alone: what each device holds and how much chat fits."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from container.machine.facts import MIB
from container.machine.shapes import Shape
from container.machine.shared_memory import shm_need
from container.refusal import Refusal
from server.engine.model.kv_budget import ChatDemand, chat_tokens, score_tokens

GIB = 2**30
# Total memory as nvidia-smi shows it, in MiB.
GPUS: Mapping[str, int] = {
    "t4": 15360,
    "v100": 16384,
    "a10g": 23028,
    "l4": 23034,
    "a100-40g": 40960,
    "l40s": 46068,
    "a100-80g": 81920,
    "h100": 81559,
    "h200": 143771,
}
# What a rank takes besides tensors. The CPU figure is measured: torch, DeepSpeed and transformers imported and the
# group joined. The GPU figure is an estimate of the CUDA context, cuBLAS and NCCL's buffers.
_CPU_PROCESS = 320 * MIB
_GPU_PROCESS = 1100 * MIB
_FRONT = 900 * MIB  # with the encoder that searches; and the libraries' own pages, which all processes share


@dataclass(frozen=True)
class Request:
    """What to plan for. `device_bytes` is one GPU's memory, or all memory of the machine on CPU."""

    chat: Shape
    moderation: tuple[Shape, ...]  # none, one for both roles, or one a role
    world: int
    dtype: str
    device: str  # cuda or cpu
    device_name: str
    device_bytes: int
    max_running: int
    max_step_tokens: int
    max_context_tokens: int = 0
    kv_cache_tokens: int = 0
    kv_dtype: str = "auto"
    judge_bytes: int = 0  # of a policy's second judge, in the front

    @property
    def front_bytes(self) -> int:
        """What the front takes of the machine."""
        return _FRONT + self.judge_bytes


@dataclass(frozen=True)
class Item:
    """One line of the plan: bytes on one device (GPU) or in one rank (CPU)."""

    what: str
    size: int


@dataclass(frozen=True)
class Plan:
    """The plan. Sizes are bytes a rank unless their name says host."""

    request: Request
    items: tuple[Item, ...]
    window: int
    kv_per_token: int
    num_kv_tokens: int
    left: int
    host_bytes: int
    shm_bytes: int

    @property
    def used(self) -> int:
        """Bytes a rank, keys and values of the chat model included."""
        return sum(item.size for item in self.items)

    @property
    def num_sequences(self) -> int:
        """Sequences of the full window whose keys and values fit at once."""
        return self.num_kv_tokens // self.window


def make_plan(request: Request) -> Plan:
    """Work the plan out.

    Raises:
        Refusal: fewer heads than ranks, or it does not fit; the sentence gives the numbers.
    """
    for shape in (request.chat, *request.moderation):
        if fault := shape.heads.fault(request.world):
            raise Refusal(f"degree {request.world}, {shape.name}: its {fault}")
    fixed = _fixed_items(request)
    window = min(request.max_context_tokens or request.chat.window, request.chat.window)
    per_token = request.chat.share(request.world, request.dtype, request.kv_dtype).kv_per_token
    left = _left(request, fixed)
    tokens = _chat_tokens(request, window, left, fixed=fixed)
    items = (*fixed, Item(f"chat keys and values, {tokens} tokens", tokens * per_token))
    used = sum(item.size for item in items)
    shm = shm_need(request.world, request.device)
    host = request.world * (used if request.device == "cpu" else _CPU_PROCESS) + shm + request.front_bytes
    return Plan(
        request,
        items,
        window,
        kv_per_token=per_token,
        num_kv_tokens=tokens,
        left=left - tokens * per_token,
        host_bytes=host,
        shm_bytes=shm,
    )


def _fixed_items(request: Request) -> list[Item]:
    """Everything but the chat model's keys and values."""
    process = _CPU_PROCESS if request.device == "cpu" else _GPU_PROCESS
    items = [Item("process: libraries, context, communication", process)]
    items.append(Item(f"chat weights, {request.chat.name}", request.chat.share(request.world, request.dtype).weights))
    for shape in request.moderation:
        share = shape.share(request.world, request.dtype, request.kv_dtype)
        tokens = score_tokens(shape.window)
        items.append(Item(f"moderation weights, {shape.name}", share.weights))
        items.append(Item(f"moderation keys and values, {tokens} tokens", tokens * share.kv_per_token))
    items.append(Item(f"workspace of a step of {request.max_step_tokens} tokens", _workspace(request)))
    return items


def _workspace(request: Request) -> int:
    """Activations of the widest point of a layer, in float32, and the logits of every running sequence."""
    widest = 0
    for shape in (request.chat, *request.moderation):
        a_token = 3 * shape.hidden + (3 * shape.hidden + 2 * shape.inner) // request.world
        widest = max(widest, 4 * (request.max_step_tokens * a_token + request.max_running * shape.vocab))
    return widest


def _left(request: Request, fixed: list[Item]) -> int:
    taken = sum(item.size for item in fixed)
    if request.device == "cpu":
        taken = taken * request.world + request.front_bytes
    left = request.device_bytes - taken
    if left <= 0:
        raise Refusal(
            f"{request.device_name} has {request.device_bytes / GIB:.1f} GiB and {taken / GIB:.1f} GiB are needed"
            " before any keys and values: use more ranks, a narrower dtype or a smaller model"
        )
    return left


def _chat_tokens(request: Request, window: int, left: int, fixed: list[Item]) -> int:
    on_gpu = request.device != "cpu"
    # The engine asks what is free when only weights and context are there; workspace comes later.
    free = left + fixed[-1].size * (1 if on_gpu else request.world)
    demand = ChatDemand(request.kv_cache_tokens, window, request.max_running, world=request.world, on_gpu=on_gpu)
    chat, *beside = (
        each.kv_shape(request.world, request.dtype, request.kv_dtype) for each in (request.chat, *request.moderation)
    )
    try:
        return chat_tokens(demand, chat, beside, free_bytes=free)
    except ValueError as error:
        raise Refusal(str(error)) from error
