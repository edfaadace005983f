"""The engine group as the supervisor sees it: some rank processes that live and die together."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from pathlib import Path

from container.machine.shared_memory import unlink_segments
from container.supervision.child import Child
from container.supervision.commands import RankCommand, RankPlace
from container.supervision.pulse import Pulse
from container.supervision.watch import Watch
from server.engine.rank.liveness import BEAT_FILE, READY_FILE
from server.engine.signs_of_life import sign_file


class EngineGroup:
    """Starts the ranks of one attempt after another. It decides nothing: see Supervisor."""

    def __init__(
        self,
        watch: Watch,
        command: RankCommand,
        world: int,
        run_dir: Path,
        free_port: Callable[[], int],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.world = world
        self.attempt = 0
        self.ready = False
        self.sockets_only = False
        self.started_at = 0.0
        self._watch = watch
        self._command = command
        self._ready_file = run_dir / READY_FILE
        self._beat_file = run_dir / BEAT_FILE
        self._pulse = Pulse(self._beat_file, clock)
        self._start_pulses = [Pulse(sign_file(run_dir, rank), clock) for rank in range(world)]
        self._free_port = free_port
        self._clock = clock
        self._ranks: list[Child] = []
        self._port = 0

    @property
    def num_alive(self) -> int:
        """Rank processes that have not been reaped yet."""
        return sum(rank.alive for rank in self._ranks)

    @property
    def age_s(self) -> float:
        """Seconds since this attempt was started."""
        return self._clock() - self.started_at

    def owns(self, child: Child) -> bool:
        """Whether `child` is a rank of this attempt."""
        return child in self._ranks

    def start(self) -> None:
        """Start the next attempt; the ranks of the one before must be gone.

        Every attempt has its own number, which the ranks use as the prefix of their store, and its own port.

        Raises:
            OSError: a rank cannot be started.
            PortError: there is no free port.
        """
        assert self.num_alive == 0, self.num_alive
        self._ready_file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.clean()
        self.attempt += 1
        self.started_at = self._clock()
        self._port = self._free_port()
        unlink_segments(self._port, self.world)
        for pulse in self._start_pulses:
            pulse.restart()
        self._ranks = []
        for rank in range(self.world):
            self._ranks.append(
                self._watch.spawn(
                    self._command(RankPlace(rank, self.attempt, self._port, sockets_only=self.sockets_only))
                )
            )

    def became_ready(self) -> bool:
        """True once per attempt: rank 0 has said that a forward pass ran on every rank."""
        if self.ready or not self._ready_file.exists():
            return False
        self.ready = self._ready_file.read_text().strip() == str(self.attempt)
        self._pulse.restart()
        return self.ready

    def look_for_silence(self) -> float:
        """Seconds since rank 0's last heartbeat, or since it became ready; to be called every second or so."""
        return self._pulse.look()

    def look_for_silent_starts(self) -> list[float]:
        """For each rank that starts, the seconds since its last sign of life; to be called every second or so."""
        return [pulse.look() for pulse in self._start_pulses]

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to every living rank."""
        for rank in self._ranks:
            if rank.alive:
                rank.signal(number)

    def clean(self) -> None:
        """Remove what the ended ranks leave behind: their segments, the sign of readiness and the heartbeat."""
        self.ready = False
        self._ready_file.unlink(missing_ok=True)
        self._beat_file.unlink(missing_ok=True)
        if self._port:
            unlink_segments(self._port, self.world)
