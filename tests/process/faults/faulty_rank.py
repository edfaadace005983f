"""A rank as it is served, whose next forward pass does what a file in the run folder says: fault-RANK holds the kind.

Nothing of it is in the product: the ranks of a server that `faulty_serve.py` starts are started as this module.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import torch

from server.engine.model.runner import GroupRunner
from server.engine.parallel.all_reduce import AllReduce
from server.engine.rank import __main__ as rank_main
from server.engine.rank.liveness import end_process

RUN_DIR = Path(os.environ["OCK_RUN_DIR"])
FAULT = RUN_DIR / f"fault-{os.environ['RANK']}"
_run, _reduce = GroupRunner.run, AllReduce.__call__
_poisoned = False


def faulty_run(self: GroupRunner, step: Any) -> Any:
    kind = take()
    if kind == "exception":
        raise ValueError("a forward pass that fails")
    if kind == "memory":
        torch.empty(1 << 50)  # more than an address space
    if kind == "nan":
        poison(True)
    found = _run(self, step)
    poison(False)
    return found


def faulty_reduce(self: AllReduce, tensor: torch.Tensor) -> Any:
    if _poisoned:
        tensor.fill_(float("nan"))
    return _reduce(self, tensor)


def take() -> str:
    """The kind of fault that waits for this rank, which it does once."""
    try:
        kind = FAULT.read_text("ascii")
    except FileNotFoundError:
        return ""
    FAULT.unlink()
    return kind


def poison(on: bool) -> None:
    global _poisoned
    _poisoned = on


if __name__ == "__main__":
    GroupRunner.run = faulty_run  # type: ignore[method-assign]
    AllReduce.__call__ = faulty_reduce  # type: ignore[method-assign]
    status = rank_main.main()
    sys.stdout.flush()
    end_process(status)
