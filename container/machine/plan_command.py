"""The verb `plan`: which models on which devices, and the plan as a table."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping

from container.defaults import Places, with_mounts
from container.machine.facts import MIB, look_at_machine
from container.machine.memory import judge_bytes
from container.machine.plan import GIB, GPUS, Plan, Request, make_plan
from container.machine.shapes import CHAT_20B, MODERATION_6B, read_shape
from container.refusal import Refusal
from server.config import ConfigError, Settings, from_env
from server.dtypes import DTYPES, KV_KINDS


def add_plan_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `plan`; what they leave out comes from the OCK_ settings."""
    memory = parser.add_mutually_exclusive_group()
    memory.add_argument("--gpu", choices=sorted(GPUS), help="kind of GPU; without one the plan is for CPU ranks")
    memory.add_argument("--memory-gib", type=float, help="memory of one GPU of another kind")
    memory.add_argument("--host-gib", type=float, help="memory of another machine without GPUs, whose cores serve")
    parser.add_argument("--count", type=int, help="GPUs, or CPU ranks (OCK_TENSOR_PARALLEL_DEGREE)")
    parser.add_argument("--chat", metavar="DIR|ID", help=f"chat model (OCK_CHAT_MODEL, mounted, else {CHAT_20B})")
    parser.add_argument(
        "--moderation", metavar="DIR|ID", action="append", help="moderation model; twice for one a role"
    )
    parser.add_argument("--dtype", choices=tuple(DTYPES), help="(OCK_DTYPE; float16 on GPUs)")
    parser.add_argument("--kv-dtype", choices=tuple(KV_KINDS), help="of keys and values (OCK_KV_DTYPE)")


def run_plan(arguments: argparse.Namespace, environ: Mapping[str, str], places: Places) -> int:
    """Print the plan of the models that are named or mounted, else of the production ones; never of the demo.

    Returns:
        0, or 2 with one sentence when it cannot work.
    """
    try:
        sys.stdout.write(as_table(make_plan(_request(arguments, from_env(with_mounts(environ, places))))))
    except (Refusal, ConfigError) as error:
        sys.stderr.write(f"openchatkit: {error}\n")
        return 2
    return 0


def as_table(plan: Plan) -> str:
    """The plan for people."""
    request = plan.request
    unit = "rank" if request.device == "cpu" else "GPU"
    where = f"ranks on {request.device_name}" if request.device == "cpu" else f"x {request.device_name}"
    lines = [f"{request.world} {where}, {request.dtype}", f"{'GiB a ' + unit:>76}"]
    lines.extend(_row(item.what, item.size) for item in plan.items)
    lines.append(_row("total", plan.used))
    if request.device != "cpu":
        lines.append(_row("left", plan.left))
    lines.append(
        f"{plan.num_sequences} full sequences of {plan.window} tokens fit at once"
        f" ({plan.kv_per_token / 1024:.0f} KiB a token and {unit}; OCK_MAX_RUNNING={request.max_running})"
    )
    lines.append(f"host memory {plan.host_bytes / GIB:.1f} GiB, /dev/shm {plan.shm_bytes / MIB:.0f} MiB")
    return "\n".join(lines) + "\n"


def _row(what: str, size: int) -> str:
    return f"  {what:<64}{size / GIB:>10.2f}"


def _request(arguments: argparse.Namespace, settings: Settings) -> Request:
    on_gpu = arguments.gpu is not None or arguments.memory_gib is not None
    chat = arguments.chat or settings.chat_model or CHAT_20B
    moderation = arguments.moderation or _moderation(settings, chat)
    named = (arguments.memory_gib or arguments.host_gib or 0) * GIB
    memory = GPUS[arguments.gpu] * MIB if arguments.gpu else int(named)
    return Request(
        chat=read_shape("--chat", chat),
        moderation=tuple(read_shape("--moderation", source) for source in moderation),
        world=arguments.count or settings.tensor_parallel_degree,
        dtype=arguments.dtype or ("float16" if on_gpu else settings.dtype),
        device="cuda" if on_gpu else "cpu",
        device_name=arguments.gpu or _place(arguments),
        device_bytes=memory or look_at_machine().memory_bytes,
        max_running=settings.max_running,
        max_step_tokens=settings.step_tokens,
        max_context_tokens=settings.max_context_tokens,
        kv_cache_tokens=settings.kv_cache_tokens,
        kv_dtype=arguments.kv_dtype or settings.kv_dtype,
        judge_bytes=judge_bytes(settings, on_gpu=on_gpu),
    )


def _place(arguments: argparse.Namespace) -> str:
    if arguments.memory_gib is not None:
        return f"GPU of {arguments.memory_gib:g} GiB"
    return "this machine" if arguments.host_gib is None else f"a machine of {arguments.host_gib:g} GiB"


def _moderation(settings: Settings, chat: str) -> list[str]:
    named = [source for source in (settings.moderation_model, settings.output_moderation_model) if source]
    return list(dict.fromkeys(named)) or ([MODERATION_6B] if chat == CHAT_20B else [])
