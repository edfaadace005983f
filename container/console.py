"""The container's one log: every line carries the name of the process that said it."""

from __future__ import annotations

import sys
from typing import TextIO


class Console:
    """Writes prefixed lines to one stream, flushing each; a reader that went away is no reason to stop serving."""

    def __init__(self, stream: TextIO = sys.stdout, name: str = "supervisor") -> None:
        self._stream = stream
        self._name = name

    def line(self, name: str, text: str) -> None:
        """One line of the process called `name`."""
        try:
            self._stream.write(f"{name:<10} | {text}\n")
            self._stream.flush()
        except (BrokenPipeError, ValueError):  # ValueError: the stream is closed
            return

    def event(self, event: str, **fields: object) -> None:
        """One event of the supervisor itself, with its counts and times."""
        self.line(self._name, " ".join([event, *(f"{key}={_value(value)}" for key, value in fields.items())]))

    def say(self, text: str) -> None:
        """A sentence of the supervisor itself; each line of it is prefixed."""
        for line in text.splitlines():
            self.line(self._name, line)


def _value(value: object) -> str:
    text = f"{value:.2f}" if isinstance(value, float) else str(value)
    return repr(text) if " " in text else text
