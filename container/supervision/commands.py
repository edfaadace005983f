"""The command lines and environments of the engine's ranks and of the front."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from container.supervision.child import Command

ROOT = Path(__file__).resolve().parents[2]
MASTER_ADDRESS = "127.0.0.1"
RANK_MODULE = "server.engine.rank"


@dataclass(frozen=True)
class RankPlace:
    """Which rank of which start is to be started, and how the ranks meet."""

    rank: int
    attempt: int
    master_port: int
    sockets_only: bool = False  # the sums of an attempt before could not be made over shared memory


RankCommand = Callable[[RankPlace], Command]


@dataclass(frozen=True)
class Commands:
    """Makes the commands of one configuration.

    Attributes:
        environ: the environment of the supervisor with the resolved OCK_ settings in it.
        world: how many ranks.
        device: cpu or cuda.
        num_cores: how many this container may use; groups x ranks x threads never exceed it, because the
            shared-memory all-reduce spins.
        run_dirs: the folder of each group, the supervisor's own where there is one group.
    """

    environ: Mapping[str, str]
    world: int
    device: str
    num_cores: int
    run_dirs: Sequence[Path] = ()

    @property
    def rank_threads(self) -> int:
        """OMP threads of one rank."""
        most = max(1, self.num_cores // (self.world * max(1, len(self.run_dirs))))
        asked = self.environ.get("OMP_NUM_THREADS", "")
        return min(most, int(asked)) if asked.isdigit() and int(asked) else most

    def rank_of(self, group: int) -> RankCommand:
        """What makes the commands of one group's ranks."""
        return partial(self.rank, group=group)

    def rank(self, place: RankPlace, group: int = 0) -> Command:
        """One rank of an engine group."""
        argv = [sys.executable, "-m", RANK_MODULE, "--rank", str(place.rank), "--attempt", str(place.attempt)]
        if len(self.run_dirs) > 1:
            argv += ["--group", str(group)]
        environ = {
            **self._common(),
            **self._transport(place.sockets_only),
            "RANK": str(place.rank),
            "LOCAL_RANK": str(place.rank),
            "WORLD_SIZE": str(self.world),
            "LOCAL_SIZE": str(self.world),
            "MASTER_ADDR": MASTER_ADDRESS,
            "MASTER_PORT": str(place.master_port),
            "OMP_NUM_THREADS": str(self.rank_threads),
            **self._own(group),
        }
        if self.device == "cpu":
            environ["DS_ACCELERATOR"] = "cpu"
        name = f"engine.{place.rank}" if len(self.run_dirs) < 2 else f"engine.{group}.{place.rank}"
        return Command(name, argv, environ)

    def front(self) -> Command:
        """The one gunicorn process tree."""
        argv = [sys.executable, "-m", "gunicorn", "-c", str(ROOT / "container" / "gunicorn_conf.py")]
        threads = 1 if self.device == "cpu" else max(1, self.num_cores // 4)
        # Each of its many threads would keep what the largest of its requests has needed, where a few share that.
        environ = {"MALLOC_ARENA_MAX": "2", **self._common(), "OMP_NUM_THREADS": str(threads)}
        return Command("front", [*argv, "server.web.wsgi:app"], environ)

    def _own(self, group: int) -> dict[str, str]:
        """What one of several groups has for itself: a folder, and GPUs of those that this process may see."""
        if len(self.run_dirs) < 2:
            return {}
        own = {"OCK_RUN_DIR": str(self.run_dirs[group])}
        if self.device == "cuda":
            every = range(len(self.run_dirs) * self.world)
            given = self.environ.get("CUDA_VISIBLE_DEVICES", "").split(",")
            devices = given if len(given) >= len(every) else [str(number) for number in every]
            own["CUDA_VISIBLE_DEVICES"] = ",".join(devices[group * self.world : (group + 1) * self.world])
        return own

    def _transport(self, sockets_only: bool) -> dict[str, str]:
        interface = self.environ.get("OCK_GROUP_INTERFACE", "")
        variables = {"NCCL_SOCKET_IFNAME": interface} if interface else {}
        # Gloo would look this machine's name up, which not every container can.
        variables["GLOO_SOCKET_IFNAME"] = interface or self.environ.get("GLOO_SOCKET_IFNAME", "lo")
        if sockets_only or self.environ.get("OCK_GROUP_TRANSPORT") == "socket":
            variables |= {"OCK_GROUP_TRANSPORT": "socket", "NCCL_SHM_DISABLE": "1"}
        return variables

    def _common(self) -> dict[str, str]:
        path = [str(ROOT), *filter(None, [self.environ.get("PYTHONPATH")])]
        return {
            **self.environ,
            "PYTHONPATH": ":".join(path),
            "PYTHONUNBUFFERED": "1",
            "TOKENIZERS_PARALLELISM": "false",
        }
