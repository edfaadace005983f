"""DeepSpeed's operator loads also where a process was killed while it compiled."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from server.engine.parallel.deepspeed_ops import load_all_reduce, operator_folder

LOAD = "from server.engine.parallel.deepspeed_ops import load_all_reduce; load_all_reduce(); print('loaded')"


def compiled_at() -> int:
    return (operator_folder() / "deepspeed_shm_comm" / "deepspeed_shm_comm.so").stat().st_mtime_ns


def load_elsewhere(**environ: str) -> None:
    command = [sys.executable, "-c", LOAD]
    environ = {**os.environ, **environ}
    ran = subprocess.run(command, env=environ, capture_output=True, text=True, timeout=300, check=True)
    assert ran.stdout.splitlines()[-1] == "loaded"


def test_a_lock_that_a_killed_process_left_does_not_stop_the_next_start() -> None:
    load_all_reduce()  # compiled here where it was not yet
    left = operator_folder() / "deepspeed_shm_comm" / "lock"
    left.touch()
    load_elsewhere()
    assert not left.exists()


def test_it_is_compiled_once_whatever_path_a_start_has() -> None:
    load_all_reduce()
    before = compiled_at()
    load_elsewhere(PATH=f"{Path(sys.executable).parent}:/usr/bin:/bin")
    load_elsewhere(PATH="/usr/bin:/bin")
    assert compiled_at() == before
