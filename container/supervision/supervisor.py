"""PID 1: starts the engine group and the front, watches them, restarts a dead group, drains on SIGTERM,
passes SIGHUP on to the front, which reads its policy again."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum

from container.console import Console
from container.supervision.child import Child, Command, describe_exit
from container.supervision.engine_group import EngineGroup
from container.supervision.restarts import NoRestart, RestartBudget
from container.supervision.watch import Watch
from server.engine import exit_status

_TICK_S = 0.2
_LOOK_S = 1.0  # between two looks at the heartbeat of a group that serves
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


class Supervisor:
    """The policy: what a death, a silence or a signal leads to.

    A dead rank or a heartbeat that stops ends the group, and the group is started again within the restart budget
    while the front answers 503.
    A rank that exits with status 2 says that no restart would help. The front's end is the container's end.
    """

    def __init__(
        self,
        watch: Watch,
        group: EngineGroup,
        front: Command,
        console: Console,
        deadlines: Deadlines,
        restarts: RestartBudget,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._watch = watch
        self._group = group
        self._front_command = front
        self._console = console
        self._deadlines = deadlines
        self._restarts = restarts
        self._clock = clock
        self._has_served = False  # before that no request can be under way
        self._kill_at: float | None = None  # set while the ranks of a failed attempt are being ended

    def run(self) -> Exit:
        """Serve until told to stop or until something cannot be mended; every child is gone when it returns."""
        self._start_group()
        self._front = self._watch.spawn(self._front_command)
        self._console.event("front.start", pid=self._front.pid)
        try:
            return self._serve()
        finally:
            self._end_everything()

    def _serve(self) -> Exit:
        while True:
            seen = self._watch.wait(_LOOK_S if self._group.ready and self._kill_at is None else _TICK_S)
            if seen.stop_asked:
                if self._has_served:
                    self._drain()
                return Exit.DRAINED
            if seen.reload_asked:
                self._console.event("policy.reload")
                self._front.signal_leader(signal.SIGHUP)
            for child in seen.ended:
                if (outcome := self._on_death(child)) is not None:
                    return outcome
            if (outcome := self._look_after_group()) is not None:
                return outcome

    def _on_death(self, child: Child) -> Exit | None:
        assert child.exit_code is not None
        if child is self._front:
            self._console.event("front.end", how=describe_exit(child.exit_code))
            return Exit.FAILED
        if not self._group.owns(child):
            return None
        if self._kill_at is not None and child.exit_code != Exit.REFUSED:
            return None  # a peer of a rank whose death has been dealt with
        self._console.event("rank.end", name=child.name, how=describe_exit(child.exit_code))
        for words in child.last_words:
            self._console.line(f"{child.name}!", words)
        if child.exit_code == Exit.REFUSED:
            return Exit.REFUSED
        if child.exit_code == exit_status.NO_SHARED_MEMORY and not self._group.sockets_only:
            self._take_sockets()
            self._end_attempt()
            return None
        return self._give_up_attempt(f"{child.name} {describe_exit(child.exit_code)}")

    def _take_sockets(self) -> None:
        self._group.sockets_only = True
        self._console.say("warning: the ranks cannot sum over shared memory; they do over sockets, which is slower")

    def _look_after_group(self) -> Exit | None:
        if self._kill_at is not None:
            return self._replace_group()
        if self._group.became_ready():
            self._has_served = True
            self._console.event("engine.ready", attempt=self._group.attempt, seconds=self._group.age_s)
        elif not self._group.ready and self._group.age_s > self._deadlines.start_s:
            return self._give_up_attempt(f"it was not ready after OCK_START_TIMEOUT_S={self._deadlines.start_s:g}")
        elif self._group.ready and self._group.look_for_silence() > self._deadlines.silence_s:
            return self._give_up_attempt(f"rank 0 gave no sign of life for {self._deadlines.silence_s:g} s")
        return None

    def _give_up_attempt(self, reason: str) -> Exit | None:
        self._console.event("engine.end", attempt=self._group.attempt, reason=reason)
        try:
            self._restarts.take(was_ready=self._group.ready or self._group.became_ready())
        except NoRestart as used_up:
            self._console.say(f"no restart: {used_up}")
            return Exit.FAILED
        self._end_attempt()
        return None

    def _end_attempt(self) -> None:
        self._group.ready = False
        self._group.signal(signal.SIGTERM)
        self._kill_at = self._clock() + self._deadlines.grace_s

    def _replace_group(self) -> Exit | None:
        assert self._kill_at is not None
        if self._group.num_alive == 0:
            self._kill_at = None
            self._start_group()
            return None
        overtime_s = self._clock() - self._kill_at
        if overtime_s > self._deadlines.bury_s:
            self._console.say(f"{self._group.num_alive} killed ranks do not go away")
            return Exit.FAILED
        if overtime_s > 0:
            self._group.signal(signal.SIGKILL)
        return None

    def _start_group(self) -> None:
        self._group.start()
        self._console.event("engine.start", attempt=self._group.attempt, ranks=self._group.world)

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
        self._front.signal(signal.SIGKILL)
        self._group.signal(signal.SIGTERM)
        began = self._clock()
        while (self._group.num_alive or self._front.alive) and self._clock() - began < self._deadlines.grace_s:
            self._watch.wait(_TICK_S / 4)
        self._group.signal(signal.SIGKILL)
        while self._group.num_alive and self._clock() - began < self._deadlines.bury_s:
            self._watch.wait(_TICK_S / 4)
        self._group.clean()
