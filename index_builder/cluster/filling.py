"""Copies of a trained index filled with their rows by the cluster's tasks, and vectors searched exactly by them.

Files are read and written where they lie, not sent: only machines that see the work folder take part.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

Answer = TypeVar("Answer")
_PROBE_S = 30.0


def mapped_beside(path: Path, function: Callable[..., Answer], arguments: list[tuple[Any, ...]]) -> Iterator[Answer]:
    """`function` of every tuple of arguments, in order, by tasks on machines that see the file at `path`; as many at
    once as those have GPUs, or else cores.
    """
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
    alive = [node for node in ray.nodes() if node["Alive"]]
    probe = ray.remote(num_cpus=0)(Path.exists)
    asked = {probe.options(scheduling_strategy=_on(node)).remote(path): node for node in alive}
    ready, _ = ray.wait(list(asked), num_returns=len(asked), timeout=_PROBE_S)
    return [asked[each] for each in ready if ray.get(each)]


def _on(node: dict[str, Any]) -> NodeAffinitySchedulingStrategy:
    """Rather there than elsewhere; elsewhere when it is gone."""
    return NodeAffinitySchedulingStrategy(node_id=node["NodeID"], soft=True)
