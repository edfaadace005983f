"""PID 1: starts the engine groups and the front, watches them, restarts a dead group, drains on SIGTERM,
passes SIGHUP on to the front, which reads its policy again."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Sequence

from container.console import Console
from container.supervision.child import Child, Command, describe_exit
from container.supervision.engine_group import EngineGroup
from container.supervision.group_keeper import Deadlines, Exit, GroupKeeper
from container.supervision.watch import Watch

_TICK_S = 0.2
_LOOK_S = 1.0  # between two looks at the heartbeats of groups that serve


class Supervisor:
    """The policy: what a death, a silence or a signal leads to.

    A dead rank or a heartbeat that stops ends its group, which is started again within its restart budget while the
    front answers 503, or asks the other groups. A group that cannot be brought back is given up as long as another is
    left. A rank that exits with status 2 says that no restart would help. The front's end is the container's end.
    """

    def __init__(
        self,
        watch: Watch,
        keepers: Sequence[GroupKeeper],
        front: Command,
        console: Console,
        deadlines: Deadlines,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._watch = watch
        self._keepers = list(keepers)
        self._front_command = front
        self._console = console
        self._deadlines = deadlines
        self._clock = clock

    def run(self) -> Exit:
        """Serve until told to stop or until something cannot be mended; every child is gone when it returns."""
        for keeper in self._keepers:
            keeper.start()
        self._front = self._watch.spawn(self._front_command)
        self._console.event("front.start", pid=self._front.pid)
        try:
            return self._serve()
        finally:
            self._end_everything()

    def _serve(self) -> Exit:
        while True:
            settled = all(keeper.is_settled for keeper in self._keepers)
            seen = self._watch.wait(_LOOK_S if settled else _TICK_S)
            if seen.stop_asked:
                if any(keeper.has_served for keeper in self._keepers):  # before that no request can be under way
                    self._drain()
                return Exit.DRAINED
            if seen.reload_asked:
                self._console.event("policy.reload")
                self._front.signal_leader(signal.SIGHUP)
            for child in seen.ended:
                if (outcome := self._on_death(child)) is not None:
                    return outcome
            for keeper in list(self._keepers):
                if (outcome := self._without(keeper, keeper.look())) is not None:
                    return outcome

    def _on_death(self, child: Child) -> Exit | None:
        if child is self._front:
            assert child.exit_code is not None
            self._console.event("front.end", how=describe_exit(child.exit_code))
            return Exit.FAILED
        keeper = next((each for each in self._keepers if each.group.owns(child)), None)
        return None if keeper is None else self._without(keeper, keeper.on_death(child))

    def _without(self, keeper: GroupKeeper, outcome: Exit | None) -> Exit | None:
        """The container's end when `keeper` has come to `outcome`; none while another group is left to serve."""
        if outcome != Exit.FAILED or len(self._keepers) == 1:
            return outcome
        self._keepers.remove(keeper)
        keeper.group.signal(signal.SIGKILL)
        self._console.say(f"warning: an engine group is given up; {len(self._keepers)} go on")
        return None

    def _drain(self) -> None:
        self._console.event("drain.start", limit_s=self._deadlines.drain_s)
        began = self._clock()
        self._front.signal_leader(signal.SIGTERM)
        while self._front.alive and self._clock() - began < self._deadlines.drain_s:
            seen = self._watch.wait(_TICK_S)
            if seen.stop_asked:  # asked twice: at once, then
                break
        self._console.event("drain.end", seconds=self._clock() - began, finished=not self._front.alive)

    def _end_everything(self) -> None:
        """First the front, so that nobody asks; then the ranks, which may ignore all but SIGKILL while they spin."""
        groups = [keeper.group for keeper in self._keepers]
        self._front.signal(signal.SIGKILL)
        for group in groups:
            group.signal(signal.SIGTERM)
        began = self._clock()
        while (_num_alive(groups) or self._front.alive) and self._clock() - began < self._deadlines.grace_s:
            self._watch.wait(_TICK_S / 4)
        for group in groups:
            group.signal(signal.SIGKILL)
        while _num_alive(groups) and self._clock() - began < self._deadlines.bury_s:
            self._watch.wait(_TICK_S / 4)
        for group in groups:
            group.clean()


def _num_alive(groups: Sequence[EngineGroup]) -> int:
    return sum(group.num_alive for group in groups)
