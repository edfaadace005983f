"""What the rest of the server asks of engine groups, whether one serves or several. No torch here."""

from __future__ import annotations

import queue
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence

from server import wire
from server.errors import ErrorCode, ServiceError

_GRACE_S = 10.0  # beyond a request's own deadline, before the group is taken for dead
_NO_DEADLINE_S = 3600.0


class Engine(ABC):
    """Work for engine groups, from any thread."""

    @property
    @abstractmethod
    def ready(self) -> bool:
        """Whether a group has welcomed this process and the connection stands."""

    @property
    @abstractmethod
    def welcome(self) -> wire.Welcome | None:
        """What is served; None while there is no group."""

    @property
    @abstractmethod
    def status(self) -> wire.Status | None:
        """The last status."""

    @property
    @abstractmethod
    def status_age_s(self) -> float:
        """Seconds since the last status."""

    @property
    @abstractmethod
    def groups(self) -> Sequence[Engine]:
        """Each group by itself, to tell of."""

    @abstractmethod
    def wait_ready(self, timeout_s: float) -> bool:
        """Wait for a group's welcome."""

    @abstractmethod
    def start(self, request: wire.Generate | wire.Score, deliver: Callable[[wire.FromEngine], None]) -> None:
        """Send `request`; `deliver` gets its messages on another thread, one ending among them, then no more.

        Raises:
            ServiceError: no group is ready.
        """

    @abstractmethod
    def cancel(self, request_id: str) -> None:
        """Stop a request and deliver nothing more of it; one that has ended is left alone."""

    @abstractmethod
    def close(self) -> None:
        """Fail what is pending and let go of the sockets."""

    def generate(self, request: wire.Generate) -> Iterator[wire.Piece | wire.Finished]:
        """The pieces of a reply, then its `Finished`. Closing the iterator cancels the request.

        Raises:
            ServiceError: refused at the door, or the group was lost.
        """
        inbox: queue.SimpleQueue[wire.FromEngine] = queue.SimpleQueue()
        self.start(request, inbox.put)
        try:
            while True:
                message = _next(inbox, request.deadline_s)
                assert isinstance(message, wire.Piece | wire.Finished), message
                yield message
                if isinstance(message, wire.Finished):
                    return
        finally:
            self.cancel(request.request_id)

    def score(self, requests: Sequence[wire.Score]) -> list[wire.Scored]:
        """The log-probabilities that `requests` ask for, in order; all of them are under way at once.

        Raises:
            ServiceError: as `generate` does, for the first that fails; the others are given up.
        """
        inbox: queue.SimpleQueue[wire.FromEngine] = queue.SimpleQueue()
        scored: dict[str, wire.Scored] = {}
        try:
            for request in requests:
                self.start(request, inbox.put)
            while len(scored) < len(requests):
                message = _next(inbox, requests[0].deadline_s)
                assert isinstance(message, wire.Scored), message
                scored[message.request_id] = message
        finally:
            for request in requests:
                self.cancel(request.request_id)
        return [scored[request.request_id] for request in requests]


def lost(why: str) -> ServiceError:
    """The error of work that no group does."""
    return ServiceError(ErrorCode.ENGINE_UNAVAILABLE, f"{why}; try again in a few seconds", retry_after_s=5.0)


def _next(inbox: queue.SimpleQueue[wire.FromEngine], deadline_s: float | None) -> wire.FromEngine:
    try:
        message = inbox.get(timeout=_NO_DEADLINE_S if deadline_s is None else deadline_s + _GRACE_S)
    except queue.Empty:
        raise lost("the engine group did not answer within the request's deadline") from None
    if isinstance(message, wire.Failed):
        raise failure(message)
    return message


def failure(message: wire.Failed) -> ServiceError:
    """The error that a request failed with."""
    return ServiceError(message.code, message.message, retry_after_s=message.retry_after_s)
