"""Whether the models of the settings fit this machine, before any of them is loaded."""

from __future__ import annotations

from pathlib import Path

from container.machine.facts import Machine
from container.machine.plan import Request, make_plan
from container.machine.shapes import Shape, find_shape
from server.chat.moderation.policy_file import PolicyError, load_policy
from server.config import Settings
from server.retrieval.encoder.source import encoder_path
from server.retrieval.encoder.text_classifier import num_changed_bytes
from server.retrieval.retriever import RetrievalError


def check_memory(settings: Settings, machine: Machine, device: str) -> None:
    """Raises Refusal when the plan does not fit; architectures that cannot be planned are left to the engine."""
    request = plan_request(settings, machine, device)
    if request is not None:
        make_plan(request)


def plan_request(settings: Settings, machine: Machine, device: str) -> Request | None:
    """What to plan for these settings, whose artifacts are local folders; None when a model cannot be planned."""
    named = dict.fromkeys(filter(None, (settings.moderation_model, settings.output_moderation_model)))
    shapes = [find_shape(source) for source in (settings.chat_model, *named)]
    known: list[Shape] = [shape for shape in shapes if shape is not None]
    if len(known) < len(shapes):
        return None
    on_gpu = device == "cuda"
    for_a_group = machine.memory_bytes // settings.replicas
    return Request(
        chat=known[0],
        moderation=tuple(known[1:]),
        world=settings.tensor_parallel_degree,
        dtype=settings.dtype,
        device=device,
        device_name=machine.gpus[0].name if on_gpu else "this machine",
        device_bytes=min(gpu.memory_bytes for gpu in machine.gpus) if on_gpu else for_a_group,
        max_running=settings.max_running,
        max_step_tokens=settings.step_tokens,
        max_context_tokens=settings.max_context_tokens,
        kv_cache_tokens=settings.kv_cache_tokens,
        kv_dtype=settings.kv_dtype,
        judge_bytes=judge_bytes(settings, on_gpu=on_gpu),
    )


def judge_bytes(settings: Settings, *, on_gpu: bool) -> int:
    """What the policy's second judge takes: matrices that it was taught; its encoder, where no such one searches here.

    0 where there is none, or one that cannot be opened: the front says why.
    """
    if settings.policy is None or settings.moderation == "off" or not settings.moderation_model:
        return 0
    try:
        second = load_policy(settings.policy).second
        if second is None:
            return 0
        taught, encoder = num_changed_bytes(second.weights), encoder_path(second.encoder or settings.encoder)
    except (PolicyError, RetrievalError):
        return 0
    searches_there = not on_gpu or settings.encoder_device == "cpu"
    return taught + (0 if searches_there and second.encoder in ("", settings.encoder) else _weights_bytes(encoder))


def _weights_bytes(folder: str) -> int:
    """Bytes of an encoder's weights in float32; 0 where they are not here yet."""
    return sum(each.stat().st_size for each in Path(folder).glob("*.safetensors"))
