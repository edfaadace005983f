"""DeepSpeed's operator loads also where a process was killed while it compiled."""

from __future__ import annotations

import subprocess
import sys

from server.engine.shared_memory import load_operator, operator_folder

LOAD = "from server.engine.shared_memory import load_operator; load_operator(); print('loaded')"


def test_a_lock_that_a_killed_process_left_does_not_stop_the_next_start() -> None:
    load_operator()  # compiled here where it was not yet
    left = operator_folder() / "deepspeed_shm_comm" / "lock"
    left.touch()
    ran = subprocess.run([sys.executable, "-c", LOAD], capture_output=True, text=True, timeout=120, check=True)
    assert ran.stdout.splitlines()[-1] == "loaded"
    assert not left.exists()
