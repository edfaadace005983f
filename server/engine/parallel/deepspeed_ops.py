"""DeepSpeed's operators as compiled code: found, or compiled by one process while others wait.

torch guards the folder in which it compiles with a plain file. A process killed while it holds that file leaves it
behind, and every later start would wait for it without end; so the file is only ever made under a lock that the
kernel gives up with its holder, in a folder that nobody else uses.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import sys
from pathlib import Path
from typing import Any

import deepspeed
import ninja
import torch
from deepspeed.accelerator import get_accelerator
from deepspeed.git_version_info import installed_ops

from server.engine.parallel.cache_folder import cache_folder


def load_all_reduce() -> None:
    """Load the shared-memory all-reduce, so that DeepSpeed finds it loaded when it joins a group.

    Raises:
        RuntimeError: it is not part of the installation and cannot be compiled.
    """
    builder = get_accelerator().create_op_builder("ShareMemCommBuilder")
    if builder is not None and deepspeed.ops.__compatible_ops__.get(builder.NAME, False):
        load_operator(builder)  # else ranks sum through their process group


def load_operator(builder: Any) -> Any:
    """The module that DeepSpeed's `builder` makes."""
    if installed_ops.get(builder.NAME, False):
        return builder.load(verbose=False)
    folder = operator_folder()
    folder.mkdir(parents=True, exist_ok=True)
    os.environ["TORCH_EXTENSIONS_DIR"] = str(folder)
    # torch runs the first ninja on the path. Two versions disbelieve each other's records, and compile anew in turns.
    os.environ["PATH"] = f"{ninja.BIN_DIR}{os.pathsep}{os.environ.get('PATH', os.defpath)}"
    with (folder / "compiling.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        (folder / builder.NAME / "lock").unlink(missing_ok=True)
        return builder.load(verbose=False)


def operator_folder() -> Path:
    """Where this environment's operators are compiled: another one has other headers, and would compile them again."""
    environment = "\n".join((sys.prefix, sys.version, torch.__version__, deepspeed.__version__))
    return cache_folder() / f"deepspeed-{hashlib.sha256(environment.encode()).hexdigest()[:16]}"
