"""The verb `serve`: settings, preflight, artifacts, then the supervisor."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable, Mapping
from functools import partial
from types import FrameType

from container.artifacts.fetch import Fetcher
from container.artifacts.resolve import as_environ, resolve
from container.console import Console
from container.defaults import Places, with_defaults
from container.machine.facts import Machine, look_at_machine
from container.machine.memory import check_memory
from container.machine.preflight import check_artifact_dir, check_machine, check_store, hold_run_dir, shm_lack
from container.machine.shared_memory import unlink_abandoned
from container.refusal import Refusal
from container.supervision.commands import Commands
from container.supervision.engine_group import EngineGroup
from container.supervision.group_keeper import SILENCE_MARGIN_S, Deadlines, Exit, GroupKeeper
from container.supervision.supervisor import Supervisor
from container.supervision.watch import Watch
from server.config import PREFIX, ConfigError, Settings, describe, from_env
from server.masking import masked
from server.ports import PortError, free_loopback_port
from server.service_variables import without_service_variables

Act = Callable[[Mapping[str, str], Settings, Console], Exit]
"""(environment with defaults, settings, console) -> the container's exit status."""


def serve(environ: Mapping[str, str], places: Places) -> Exit:
    """Start and serve until the end; the container's exit status."""
    return _at_the_edge(environ, places, _supervise)


def check(environ: Mapping[str, str], places: Places) -> Exit:
    """Do everything that `serve` does before it starts a child."""
    return _at_the_edge(environ, places, _only_prepare)


def _at_the_edge(environ: Mapping[str, str], places: Places, act: Act) -> Exit:
    signal.signal(signal.SIGTERM, _stop_before_start)  # PID 1 has no default action for it
    try:
        console = Console(sys.stdout)
        environ, foreign = without_service_variables(environ, PREFIX)
        if foreign:
            console.say(f"warning: passed over, as Kubernetes makes them of a service's name: {', '.join(foreign)}")
        filled = with_defaults(environ, places)
        settings = from_env(filled)
        console.say(describe(settings))
        with hold_run_dir(settings.run_dir):
            return act(filled, settings, console)
    except (Refusal, ConfigError) as error:
        sys.stderr.write(f"openchatkit: {masked(str(error))}\n")
        return Exit.REFUSED
    except (OSError, PortError) as error:
        sys.stderr.write(f"openchatkit: {error}\n")
        return Exit.FAILED


def _only_prepare(environ: Mapping[str, str], settings: Settings, console: Console) -> Exit:
    prepare(environ, settings, console)
    console.event("check.passed")
    return Exit.DRAINED


def _supervise(environ: Mapping[str, str], settings: Settings, console: Console) -> Exit:
    settings, commands = prepare(environ, settings, console)
    if stale := unlink_abandoned():
        console.event("segments.unlinked", count=stale)
    free_port = partial(free_loopback_port, environ.get("SAGEMAKER_SAFE_PORT_RANGE", ""))
    deadlines = Deadlines(
        start_s=settings.start_timeout_s,
        silence_s=settings.step_timeout_s + SILENCE_MARGIN_S,
        drain_s=settings.drain_timeout_s + 1,
    )
    with Watch(console) as watch:
        keepers = [
            GroupKeeper(
                EngineGroup(watch, commands.rank_of(group), commands.world, run_dir=run_dir, free_port=free_port),
                console,
                deadlines,
            )
            for group, run_dir in enumerate(commands.run_dirs)
        ]
        outcome = Supervisor(watch, keepers, commands.front(), console=console, deadlines=deadlines).run()
    console.event("end", status=int(outcome))
    return outcome


def prepare(environ: Mapping[str, str], settings: Settings, console: Console) -> tuple[Settings, Commands]:
    """Everything that is checked and fetched before a child is started.

    Raises:
        Refusal: the start cannot succeed.
    """
    machine = look_at_machine()
    device = machine.device(settings.device)
    _report(machine, device, console)
    for warning in check_machine(settings, machine, device):
        console.say(f"warning: {warning}")
    check_store(settings.store)
    check_artifact_dir(settings.artifact_dir)
    fetcher = Fetcher(settings.artifact_dir, console)
    settings = resolve(settings, fetcher, fetcher.newest_index)
    check_memory(settings, machine, device)
    if not settings.moderation_model:
        console.say("warning: OCK_MODERATION_MODEL is not set: NOTHING IS MODERATED")
    children = {**environ, **as_environ(settings), "OCK_DEVICE": device, "OCK_PORT": str(settings.port)}
    world = settings.tensor_parallel_degree
    if device == "cpu" and shm_lack(settings, machine):
        children["OCK_GROUP_TRANSPORT"] = "socket"
    run_dirs = [settings.group_dir(group) for group in range(settings.replicas)]
    return settings, Commands(children, world, device, num_cores=machine.num_cores, run_dirs=run_dirs)


def _report(machine: Machine, device: str, console: Console) -> None:
    console.event(
        "preflight",
        device=device,
        cores=machine.num_cores,
        memory_mib=machine.memory_bytes >> 20,
        shm_free_mib=machine.shm_bytes >> 20,
        gpus=len(machine.gpus),
        driver=machine.gpus[0].driver if machine.gpus else "none",
    )


def _stop_before_start(_number: int, _frame: FrameType | None) -> None:
    raise SystemExit(Exit.DRAINED)
