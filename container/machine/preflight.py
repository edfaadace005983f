"""What is checked before anything is downloaded or started: the machine against what the settings need."""

from __future__ import annotations

import fcntl
import itertools
import os
from pathlib import Path
from typing import IO

from container.machine.facts import MIB, Gpu, Machine
from container.machine.shared_memory import SHM, shm_need
from container.refusal import Refusal
from server import cuda
from server.config import Settings
from server.dtypes import CPU_DTYPES
from server.own_folder import check_own_place, make_own_folder
from server.ports import hosts_to_listen_on, listen_fault

_SQLITE = "sqlite:///"


def check_machine(settings: Settings, machine: Machine, device: str) -> list[str]:
    """Warnings about the machine, one sentence each.

    Raises:
        Refusal: the settings cannot work here.
    """
    world = settings.tensor_parallel_degree * settings.replicas
    for host, port in itertools.product(hosts_to_listen_on(settings.host), settings.ports):
        if fault := listen_fault(host, port):
            name = "OCK_PORT" if port == settings.port else "OCK_OPERATOR_PORT"
            raise Refusal(f"OCK_HOST={host}, {name}={port}: cannot listen there ({fault})")
    return _check_cpu(settings, machine, world) if device == "cpu" else _check_gpus(settings, machine)


def check_store(store: str) -> None:
    """Raises Refusal unless conversations can be written where OCK_STORE says; tables are the store's own affair."""
    if not store.startswith(_SQLITE):
        return
    path = Path(store.removeprefix(_SQLITE)).absolute()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise Refusal(f"OCK_STORE={store}: {path.parent} cannot be made ({error.strerror})") from error
    target = path if path.exists() else path.parent
    if path.is_dir() or not os.access(target, os.W_OK):
        raise Refusal(f"OCK_STORE={store}: {path} cannot be written")


def check_artifact_dir(folder: Path) -> None:
    """Raises Refusal where somebody else could put models of theirs."""
    try:
        check_own_place(folder, "OCK_ARTIFACT_DIR")
    except ValueError as error:
        raise Refusal(str(error)) from error


def hold_run_dir(run_dir: Path) -> IO[str]:
    """Take the folder of sockets and locks for this process; keep the returned file open to keep it.

    Raises:
        Refusal: another supervisor has it, it cannot be made, or it is not ours alone.
    """
    try:
        make_own_folder(run_dir, "OCK_RUN_DIR")
        lock = (run_dir / "supervisor.lock").open("a+")
    except ValueError as error:
        raise Refusal(str(error)) from error
    except OSError as error:
        raise Refusal(f"OCK_RUN_DIR={run_dir}: cannot be written ({error.strerror})") from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        lock.seek(0)
        holder = lock.read().strip() or "another process"
        lock.close()
        raise Refusal(
            f"OCK_RUN_DIR={run_dir}: in use by process {holder}; give this server a folder of its own"
        ) from None
    lock.truncate(0)
    lock.write(f"{os.getpid()}\n")
    lock.flush()
    return lock


def _check_cpu(settings: Settings, machine: Machine, world: int) -> list[str]:
    if settings.dtype not in CPU_DTYPES:
        raise Refusal(
            f"OCK_DTYPE=float16: on CPU the legal values are {', '.join(CPU_DTYPES[:-1])} and {CPU_DTYPES[-1]}"
        )
    found = []
    if settings.group_transport != "socket" and (lack := shm_lack(settings, machine)):
        if settings.group_transport == "shm":
            raise Refusal(f"OCK_GROUP_TRANSPORT=shm: {lack}: start the container with --shm-size 1g")
        found.append(f"{lack}: the ranks sum over sockets, which is slower; --shm-size 1g would do")
    if world > machine.num_cores:
        found.append(f"{world} ranks share {machine.num_cores} cores: each step will be slow")
    return found


def shm_lack(settings: Settings, machine: Machine) -> str | None:
    """What /dev/shm lacks for the sums of all CPU ranks; None when there is room."""
    world = settings.tensor_parallel_degree * settings.replicas
    needed = settings.replicas * shm_need(settings.tensor_parallel_degree, "cpu")
    if machine.shm_bytes >= needed:
        return None
    free, whole = machine.shm_bytes // MIB, -(-needed // MIB)
    return f"{SHM} has {free} MiB free and the sums of {world} CPU ranks need {whole} MiB"


def _check_gpus(settings: Settings, machine: Machine) -> list[str]:
    degree, replicas = settings.tensor_parallel_degree, settings.replicas
    if len(machine.gpus) < degree * replicas:
        groups = "" if replicas == 1 else f" with OCK_REPLICAS={replicas}"
        raise Refusal(
            f"OCK_TENSOR_PARALLEL_DEGREE={degree}{groups}: nvidia-smi shows {len(machine.gpus)} GPUs;"
            " give the container more (--gpus all) or lower the degree"
        )
    _check_driver(machine.gpus[0])
    return []


def _check_driver(gpu: Gpu) -> None:
    """All GPUs of a machine have one driver."""
    branch = gpu.driver_branch
    if branch is None or branch < cuda.LEAST_DRIVER:
        raise Refusal(
            f"nvidia-smi shows driver {gpu.driver or 'of no version'}, and torch's CUDA {cuda.VERSION} needs"
            f" {cuda.LEAST_DRIVER} or later: update the host's driver"
        )
