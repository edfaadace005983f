"""Unmaking what was made when a later step fails, so that a failed command leaves nothing that costs money."""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType

from deploy.aws.api import Aws, Say
from deploy.endpoint.failure import EndpointFailedError, EndpointMixedError, log_tail
from deploy.errors import DeployError
from deploy.specification.names import log_group


class Undo:
    """A block of steps: on a failure the log's end is shown, the steps so far are undone, last first.

    While `in_use`, SageMaker uses what was made, which is unmade only when the endpoint itself has failed; after other
    errors the person is told what does the `rest`. An interrupt (Ctrl-C) is no failure: SageMaker goes on.
    """

    def __init__(
        self, aws: Aws, endpoint: str, say: Say, wanted: bool, rest: str = "the same command again does the rest"
    ) -> None:
        self._aws = aws
        self._endpoint = endpoint
        self._say = say
        self._wanted = wanted
        self._rest = rest
        self._steps: list[Callable[[], None]] = []
        self.in_use = False

    def to_undo(self, step: Callable[[], None]) -> None:
        """`step` unmakes what has just been made."""
        self._steps.append(step)

    def __enter__(self) -> Undo:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not isinstance(error, DeployError):
            return
        if isinstance(error, EndpointFailedError):
            self._show_log()
        if self.in_use and not _is_over(error):
            self._say(f"nothing is undone; when the endpoint has settled, {self._rest}")
        elif self._wanted:
            self._unmake()
        elif self._steps:
            self._say("kept what was made; it costs money until: python -m deploy delete")

    def _unmake(self) -> None:
        """Stops at the first step that fails: what an earlier one made may be needed by what is still there."""
        try:
            for step in reversed(self._steps):
                step()
        except DeployError as error:
            self._say(f"could not undo: {error}; to take everything away: python -m deploy delete")

    def _show_log(self) -> None:
        try:
            tail = log_tail(self._aws, self._endpoint)
        except DeployError as error:
            self._say(f"the log could not be read: {error}")
            return
        if tail:
            self._say(f"last lines of {log_group(self._endpoint)}:")
        for line in tail:
            self._say(f"  {line}")


def _is_over(error: DeployError) -> bool:
    return isinstance(error, EndpointFailedError) and not isinstance(error, EndpointMixedError)
