"""The Ray cluster of a run, started for it on this machine or there already; and functions run on its machines that see
a file, which is read and written where it lies.
"""

from __future__ import annotations

import importlib.util
import logging
import os
import re
import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar


class ClusterError(RuntimeError):
    """Ray is not installed, its cluster is not reached, or a task failed; one sentence. Finished shards stay."""


LOCAL = "local"
_LOCAL_STORE_BYTES = 1 << 30
_LOOPBACK_ONLY = "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"  # "0": listen on loopback only, on Linux too
_ANSWER_TIMEOUT_S = 10.0
_NAMED_ERROR = re.compile(r"[\w.]+(?:Error|Exception): \S")
_BLOCK_BYTES = 2 << 20  # of raw pages: a task of well under a second, so that all cores have some


@contextmanager
def connected(address: str | None) -> Iterator[None]:
    """Hold a connection to the cluster at `address` while the block runs; nothing for None, nor inside another one.

    "local" starts a cluster on this machine's loopback, which ends with the block.

    Raises:
        ClusterError: the extra `ray` is not installed, the cluster is not reached, or one of its tasks fails.
    """
    if address is None:
        yield
        return
    if importlib.util.find_spec("ray") is None:
        raise ClusterError(f"--ray {address!r} needs the extra `ray`: install it with pip install '.[ray]'")
    if address == LOCAL:
        os.environ[_LOOPBACK_ONLY] = "0"  # read when Ray is imported
    import ray

    if ray.is_initialized():
        yield
        return
    _refuse_silent(address)
    _connect(address)
    try:
        yield
    except ray.exceptions.RayError as error:
        raise ClusterError(f"a task on the Ray cluster failed: {_cause(error)}; finished shards are kept") from error
    finally:
        ray.shutdown()


def is_connected() -> bool:
    """Whether a block of `connected` to a cluster is running."""
    if "ray" not in sys.modules:
        return False
    import ray

    return bool(ray.is_initialized())


def num_workers(wanted: int | None) -> int:
    """`wanted`, or one a GPU of the cluster, else one a core."""
    import ray

    resources = ray.cluster_resources()
    return wanted or int(resources.get("GPU", 0)) or max(1, int(resources.get("CPU", 1)))


def this_machine() -> dict[str, str]:
    """What labels the machine of this process, whose files the cluster's others may not see."""
    import ray

    return {"ray.io/node-id": ray.get_runtime_context().get_node_id()}


def _refuse_silent(address: str) -> None:
    """Ray itself tries for minutes where nobody listens."""
    host, colon, port = address.removeprefix("ray://").rpartition(":")
    if not colon:
        return
    try:
        socket.create_connection((host, int(port)), _ANSWER_TIMEOUT_S).close()
    except (OSError, ValueError) as error:
        raise ClusterError(f"--ray {address!r}: no Ray cluster answers there: {error}") from error


def _connect(address: str) -> None:
    import ray

    options: dict[str, Any] = {"logging_level": logging.WARNING}
    if address == LOCAL:
        options |= {"include_dashboard": False, "object_store_memory": _LOCAL_STORE_BYTES}
    try:
        ray.init(address=address, **options)
    except (ConnectionError, RuntimeError, ValueError, OSError) as error:
        raise ClusterError(f"--ray {address!r}: no Ray cluster is reached there: {_first_line(error)}") from error
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    context.target_max_block_size = _BLOCK_BYTES
    context.execution_options.preserve_order = True


def _cause(error: BaseException) -> str:
    """The last line of the remote traceback that names an error and says something of it."""
    named = [line.strip() for line in str(error).splitlines() if _NAMED_ERROR.match(line.strip())]
    return named[-1][:300] if named else _first_line(error)


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return lines[0][:300] if lines else type(error).__name__


Answer = TypeVar("Answer")
_PROBE_S = 30.0


def mapped_beside(path: Path, function: Callable[..., Answer], arguments: list[tuple[Any, ...]]) -> Iterator[Answer]:
    """`function` of every tuple of arguments, in order, by tasks on machines that see the file at `path`; as many at
    once as those have GPUs, or else cores.
    """
    import ray

    nodes = _nodes_that_see(path)
    on_gpus = any(node["Resources"].get("GPU") for node in nodes)
    task = ray.remote(num_gpus=1 if on_gpus else 0, num_cpus=1, max_retries=3)(function)
    waiting = [
        task.options(scheduling_strategy=_on(nodes[number % len(nodes)])).remote(*each)
        for number, each in enumerate(arguments)
    ]
    for answer in waiting:
        yield ray.get(answer)


def _nodes_that_see(path: Path) -> list[dict[str, Any]]:
    """The machines that find the file; this one always does."""
    import ray

    alive = [node for node in ray.nodes() if node["Alive"]]
    probe = ray.remote(num_cpus=0)(Path.exists)
    asked = {probe.options(scheduling_strategy=_on(node)).remote(path): node for node in alive}
    ready, _ = ray.wait(list(asked), num_returns=len(asked), timeout=_PROBE_S)
    return [asked[each] for each in ready if ray.get(each)]


def _on(node: dict[str, Any]) -> Any:
    """Rather there than elsewhere; elsewhere when it is gone."""
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    return NodeAffinitySchedulingStrategy(node_id=node["NodeID"], soft=True)
