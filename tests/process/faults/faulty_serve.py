"""container/serve with ranks that can be told to fail, as often as a test likes within ten minutes."""

from __future__ import annotations

from functools import partial

from container.cli import main
from container.supervision import commands, group_keeper
from container.supervision.restarts import RestartBudget

if __name__ == "__main__":
    commands.RANK_MODULE = "tests.process.faults.faulty_rank"
    group_keeper.RestartBudget = partial(RestartBudget, limit=100)  # type: ignore[assignment, misc]
    raise SystemExit(main())
