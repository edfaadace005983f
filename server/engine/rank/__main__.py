"""One rank of the engine group: `python -m server.engine.rank --rank R [--attempt N]`, started by the supervisor.

MASTER_PORT and WORLD_SIZE come from the environment, as do the OCK_ settings.
"""

from __future__ import annotations

import argparse
import contextlib
import logging
import os
import signal
import sys
import time
from pathlib import Path

from setproctitle import setproctitle

from server.config import ConfigError, Settings, from_env
from server.engine.exit_status import FAILED, NO_SHARED_MEMORY, REFUSED
from server.engine.parallel.cache_folder import cache_folder
from server.engine.rank.liveness import READY_FILE, Heartbeat, end_process
from server.engine.signs_of_life import give_signs
from server.errors import PassingError
from server.log_setup import set_up_logging
from server.own_folder import check_own_place, make_own_folder

log = logging.getLogger("server.engine")


def main() -> int:
    """Join the group, load, prove that a forward pass works on every rank, then lead or follow until told to stop."""
    parser = argparse.ArgumentParser(prog="python -m server.engine.rank", description="One rank of the engine group.")
    parser.add_argument("--rank", type=int, required=True, help="this process's rank; 0 leads")
    parser.add_argument("--attempt", type=int, default=0, help="which start of the group this is")
    parser.add_argument("--group", type=int, help="which of several groups, to be told apart by")
    arguments = parser.parse_args()
    try:
        settings = from_env(os.environ)
    except ConfigError as error:
        sys.stderr.write(f"{error}\n")
        return REFUSED
    set_up_logging(settings, "%(asctime)s %(levelname)s %(message)s")
    logging.getLogger("DeepSpeed").setLevel(logging.WARNING)
    group = "" if arguments.group is None else f" --group {arguments.group}"
    setproctitle(f"python -m server.engine.rank --rank {arguments.rank}{group}")
    try:
        return _serve(settings, arguments.rank, arguments.attempt)
    except Exception as error:  # whatever it is, it ends the rank by `end_process`, and says why
        log.exception("engine.failed rank=%d", arguments.rank)
        sys.stderr.write(f"engine rank {arguments.rank}: {type(error).__name__}: {error}\n")
        return FAILED


def _serve(settings: Settings, rank: int, attempt: int) -> int:
    try:
        make_own_folder(settings.run_dir, "OCK_RUN_DIR")
        check_own_place(cache_folder(), "XDG_CACHE_HOME")
    except ValueError as error:
        sys.stderr.write(f"engine rank {rank}: {error}\n")
        return REFUSED
    give_signs(settings.run_dir, rank)  # from here on, however long it takes to load
    os.environ.setdefault("DS_ACCELERATOR", _accelerator(settings))
    if os.environ["DS_ACCELERATOR"] == "cpu":
        os.nice(settings.rank_nice)  # the front has little to do and is waited for; every later thread is as nice
    os.environ.setdefault("TRITON_CACHE_DIR", str(cache_folder() / "triton"))
    # torch and DeepSpeed take seconds to import; a wrong setting must not wait for them.
    from server.engine.parallel.transport import TransportError
    from server.engine.rank.serve import Serving
    from server.engine.weights.golden import GoldenError

    started = time.monotonic()
    stopping = _Stopping()
    try:
        serving = Serving.start(settings, rank, attempt)
    except (ValueError, GoldenError) as error:
        sys.stderr.write(f"engine rank {rank}: {error}\n")
        return FAILED if isinstance(error, PassingError) else REFUSED
    except TransportError as error:
        sys.stderr.write(f"engine rank {rank}: {error}\n")
        return NO_SHARED_MEMORY if settings.group_transport == "auto" else FAILED
    if rank == 0:
        _mark_ready(settings.run_dir, attempt)
        log.info("engine.ready world=%d seconds=%.1f", serving.world, time.monotonic() - started)
    heartbeat = Heartbeat(settings.run_dir)

    def is_stopping() -> bool:  # asked once a round of rank 0's loop
        heartbeat.beat()
        return stopping()

    serving.run(is_stopping)
    return 0


def _accelerator(settings: Settings) -> str:
    if settings.device == "cpu":
        return "cpu"
    from server.engine.parallel.placement import device_kind  # brings torch

    return device_kind(settings.device, settings.tensor_parallel_degree)


class _Stopping:
    """Set by SIGTERM on rank 0. Followers ignore it: rank 0 ends them when its queue is dealt with."""

    def __init__(self) -> None:
        self._stop = False
        with contextlib.suppress(ValueError):  # not the main thread, in tests
            signal.signal(signal.SIGTERM, self._on_signal)
            signal.signal(signal.SIGINT, signal.SIG_IGN)

    def __call__(self) -> bool:
        return self._stop

    def _on_signal(self, *_: object) -> None:
        self._stop = True


def _mark_ready(run_dir: Path, attempt: int) -> None:
    temporary = run_dir / f"{READY_FILE}.part"
    temporary.write_text(str(attempt), "utf-8")
    temporary.replace(run_dir / READY_FILE)


if __name__ == "__main__":
    end_process(main())
