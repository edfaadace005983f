"""Whether the models of the settings fit this machine, before any of them is loaded."""

from __future__ import annotations

from container.machine.facts import Machine
from container.machine.plan import Request, make_plan
from container.machine.shapes import Shape, find_shape
from server.config import Settings


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
    )
