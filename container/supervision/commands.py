"""The command lines and environments of the engine's ranks and of the front."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from container.supervision.child import Command

ROOT = Path(__file__).resolve().parents[2]
MASTER_ADDRESS = "127.0.0.1"

RankCommand = Callable[[int, int, int], Command]
"""(rank, attempt, master_port) -> what to start."""


@dataclass(frozen=True)
class Commands:
    """Makes the commands of one configuration.

    Attributes:
        environ: the environment of the supervisor with the resolved OCK_ settings in it.
        world: how many ranks.
        device: cpu or cuda.
        num_cores: how many this container may use; ranks x threads never exceed it, because the shared-memory
            all-reduce spins.
    """

    environ: Mapping[str, str]
    world: int
    device: str
    num_cores: int

    @property
    def rank_threads(self) -> int:
        """OMP threads of one rank."""
        most = max(1, self.num_cores // self.world)
        asked = self.environ.get("OMP_NUM_THREADS", "")
        return min(most, int(asked)) if asked.isdigit() and int(asked) else most

    def rank(self, rank: int, attempt: int, master_port: int) -> Command:
        """One rank of the engine group."""
        argv = [sys.executable, "-m", "server.engine.rank", "--rank", str(rank), "--attempt", str(attempt)]
        environ = {
            **self._common(),
            "RANK": str(rank),
            "LOCAL_RANK": str(rank),
            "WORLD_SIZE": str(self.world),
            "LOCAL_SIZE": str(self.world),
            "MASTER_ADDR": MASTER_ADDRESS,
            "MASTER_PORT": str(master_port),
            "OMP_NUM_THREADS": str(self.rank_threads),
        }
        if self.device == "cpu":
            environ["DS_ACCELERATOR"] = "cpu"
        return Command(f"engine.{rank}", argv, environ)

    def front(self) -> Command:
        """The one gunicorn process tree."""
        argv = [sys.executable, "-m", "gunicorn", "-c", str(ROOT / "container" / "gunicorn_conf.py")]
        threads = 1 if self.device == "cpu" else max(1, self.num_cores // 4)
        return Command("front", [*argv, "server.web.wsgi:app"], {**self._common(), "OMP_NUM_THREADS": str(threads)})

    def _common(self) -> dict[str, str]:
        path = [str(ROOT), *filter(None, [self.environ.get("PYTHONPATH")])]
        return {
            **self.environ,
            "PYTHONPATH": ":".join(path),
            "PYTHONUNBUFFERED": "1",
            "TOKENIZERS_PARALLELISM": "false",
        }
