"""The front over stand-ins, for gunicorn. The first word of a question decides how its turn goes."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from server.chat.records.turn_records import KeepAlive, TextPiece, TurnEvent, TurnRequest
from server.config import from_env
from server.errors import ErrorCode, ServiceError
from server.web.app import create_app
from tests.unit.web.fakes import Fakes, FakeTurns, Step, result

_LONGEST_S = 90.0
_NOTHING = KeepAlive()


class Notes:
    """Files in a folder that the test and this process tell each other things by."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def leave(self, name: str) -> None:
        (self._folder / name).touch()

    def found(self, name: str) -> bool:
        return (self._folder / name).exists()


class NotingTurns(FakeTurns):
    """Turns that wait for the test."""

    def __init__(self, fakes: Fakes, notes: Notes) -> None:
        super().__init__(fakes.store)
        self._notes = notes

    def script(self, request: TurnRequest) -> Iterable[Step]:
        first, _, rest = request.text.partition(" ")
        if first == "wait":
            return self._until(request, lambda: self._notes.found(rest), "stop")
        if first == "go-on":
            return self._until(request, lambda: self.ending.is_set(), "shutdown")
        if first == "never-end":
            return self._until(request, lambda: False, "stop")
        if first == "flood":
            return self._until(request, lambda: False, "stop", TextPiece("x" * 100_000))
        if first == "fail":
            return [TextPiece("first "), ServiceError(ErrorCode.ENGINE_UNAVAILABLE, "a rank died", retry_after_s=5)]
        return super().script(request)

    def _until(
        self, request: TurnRequest, over: Callable[[], bool], reason: str, meanwhile: TurnEvent = _NOTHING
    ) -> Iterator[Step]:
        try:
            yield TextPiece("first ")
            self._notes.leave("begun")
            deadline = time.monotonic() + _LONGEST_S
            while not over() and time.monotonic() < deadline:
                time.sleep(0.02)
                yield meanwhile
            yield result(request, "first ", reason)
            self._notes.leave("ended")
        except GeneratorExit:
            self._notes.leave("cancelled")
            raise


logging.basicConfig(level=logging.INFO)
_fakes = Fakes(settings=from_env(os.environ))
_fakes.turns = NotingTurns(_fakes, Notes(Path(os.environ["FAKE_NOTES"])))
app = create_app(_fakes.services)
app.extensions["close"] = lambda: logging.getLogger("fake").info("closed")
app.extensions["reload"] = lambda: logging.getLogger("fake").info("policy read again")
