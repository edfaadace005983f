"""What a death or a silence in one engine group leads to: another start within a budget, or the end."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum

from container.console import Console
from container.supervision.child import Child, describe_exit
from container.supervision.engine_group import EngineGroup
from container.supervision.restarts import NoRestart, RestartBudget
from server.engine import exit_status

# What a round of rank 0's loop may take beside a step: its watchdog looks each second, and a busy machine is late.
SILENCE_MARGIN_S = 15.0


class Exit(IntEnum):
    """The container's exit status."""

    DRAINED = 0  # it was asked to stop
    FAILED = exit_status.FAILED  # a part died and could not be brought back
    REFUSED = exit_status.REFUSED  # a start that cannot succeed: a setting, an artifact or a check that fails


@dataclass(frozen=True)
class Deadlines:
    """How long the supervisor waits for its children, in seconds."""

    start_s: float = 3600.0  # for a group to become ready
    silence_s: float = 120.0 + SILENCE_MARGIN_S  # for the heartbeat of a group that serves
    drain_s: float = 25.0  # for the front to end its requests after SIGTERM
    grace_s: float = 1.0  # between SIGTERM and SIGKILL of a rank
    bury_s: float = 60.0  # for killed ranks to be gone; a driver may hold them for a while


class GroupKeeper:
    """Keeps one group serving.

    Attributes:
        has_served: whether an attempt has ever become ready.
    """

    def __init__(
        self,
        group: EngineGroup,
        console: Console,
        deadlines: Deadlines,
        restarts: RestartBudget | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.group = group
        self.has_served = False
        self._console = console
        self._deadlines = deadlines
        self._restarts = restarts or RestartBudget()
        self._clock = clock
        self._kill_at: float | None = None  # set while the ranks of a failed attempt are being ended

    @property
    def is_settled(self) -> bool:
        """Whether it serves, so that a look now and then is enough."""
        return self.group.ready and self._kill_at is None

    def start(self) -> None:
        """Start the next attempt. Raises OSError or PortError when it cannot be started."""
        self.group.start()
        self._console.event("engine.start", attempt=self.group.attempt, ranks=self.group.world)

    def on_death(self, child: Child) -> Exit | None:
        """A rank of this group has ended; the exit status when no restart would help, or none is left."""
        assert child.exit_code is not None
        if self._kill_at is not None and child.exit_code != Exit.REFUSED:
            return None  # a peer of a rank whose death has been dealt with
        self._console.event("rank.end", name=child.name, how=describe_exit(child.exit_code))
        for words in child.last_words:
            self._console.line(f"{child.name}!", words)
        if child.exit_code == Exit.REFUSED:
            return Exit.REFUSED
        if child.exit_code == exit_status.NO_SHARED_MEMORY and not self.group.sockets_only:
            self._take_sockets()
            self._end_attempt()
            return None
        return self._give_up_attempt(f"{child.name} {describe_exit(child.exit_code)}")

    def look(self) -> Exit | None:
        """To be called every second or so; the exit status when the group cannot be brought back."""
        if self._kill_at is not None:
            return self._replace_group()
        if self.group.became_ready():
            self.has_served = True
            self._console.event("engine.ready", attempt=self.group.attempt, seconds=self.group.age_s)
        elif not self.group.ready and self.group.age_s > self._deadlines.start_s:
            return self._give_up_attempt(f"it was not ready after OCK_START_TIMEOUT_S={self._deadlines.start_s:g}")
        elif not self.group.ready and (silent := self._silent_at_start()) is not None:
            return self._give_up_attempt(
                f"rank {silent} gave no sign of life for {self._deadlines.silence_s:g} s while it started"
            )
        elif self.group.ready and self.group.look_for_silence() > self._deadlines.silence_s:
            return self._give_up_attempt(f"rank 0 gave no sign of life for {self._deadlines.silence_s:g} s")
        return None

    def _silent_at_start(self) -> int | None:
        silences = enumerate(self.group.look_for_silent_starts())
        return next((rank for rank, silence_s in silences if silence_s > self._deadlines.silence_s), None)

    def _take_sockets(self) -> None:
        self.group.sockets_only = True
        self._console.say("warning: the ranks cannot sum over shared memory; they do over sockets, which is slower")

    def _give_up_attempt(self, reason: str) -> Exit | None:
        self._console.event("engine.end", attempt=self.group.attempt, reason=reason)
        try:
            self._restarts.take(was_ready=self.group.ready or self.group.became_ready())
        except NoRestart as used_up:
            self._console.say(f"no restart: {used_up}")
            return Exit.FAILED
        self._end_attempt()
        return None

    def _end_attempt(self) -> None:
        self.group.ready = False
        self.group.signal(signal.SIGTERM)
        self._kill_at = self._clock() + self._deadlines.grace_s

    def _replace_group(self) -> Exit | None:
        assert self._kill_at is not None
        if self.group.num_alive == 0:
            self._kill_at = None
            self.start()
            return None
        overtime_s = self._clock() - self._kill_at
        if overtime_s > self._deadlines.bury_s:
            self._console.say(f"{self.group.num_alive} killed ranks do not go away")
            return Exit.FAILED
        if overtime_s > 0:
            self.group.signal(signal.SIGKILL)
        return None
