"""Runs the real supervisor over stand-in children: host.py RUN_DIR RANK_MODE FRONT_MODE START_S DRAIN_S SILENCE_S."""

from __future__ import annotations

import os
import sys
from functools import partial
from pathlib import Path

from container.console import Console
from container.supervision.child import Command
from container.supervision.commands import RankPlace
from container.supervision.engine_group import EngineGroup
from container.supervision.group_keeper import Deadlines, GroupKeeper
from container.supervision.supervisor import Supervisor
from container.supervision.watch import Watch
from server.ports import free_loopback_port

STANDIN = [sys.executable, "-S", "-E", str(Path(__file__).with_name("standin.py"))]


def main(run_dir: str, rank_mode: str, front_mode: str, start_s: str, drain_s: str, silence_s: str) -> int:
    console = Console(sys.stdout)

    def rank(group: Path, place: RankPlace) -> Command:
        argv = [*STANDIN, "rank", rank_mode, str(group), str(place.rank), str(place.attempt)]
        transport = "socket" if place.sockets_only else "auto"
        environ = {**os.environ, "MASTER_PORT": str(place.master_port), "OCK_GROUP_TRANSPORT": transport}
        name = f"engine.{place.rank}" if group.name == Path(run_dir).name else f"{group.name}.{place.rank}"
        return Command(name, argv, environ)

    front = Command("front", [*STANDIN, "front", front_mode], os.environ)
    limits = Deadlines(start_s=float(start_s), silence_s=float(silence_s), drain_s=float(drain_s), grace_s=0.3)
    with Watch(console) as watch:
        dirs = [Path(run_dir) / name for name in os.environ.get("GROUPS", ".").split(",")]
        free_port = partial(free_loopback_port, "")
        groups = [EngineGroup(watch, partial(rank, each), 2, each, free_port) for each in dirs]
        keepers = [GroupKeeper(group, console, limits) for group in groups]
        return Supervisor(watch, keepers, front, console, limits).run()


if __name__ == "__main__":
    raise SystemExit(main(*sys.argv[1:]))
