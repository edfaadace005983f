"""Whole lines out of pieces of bytes that end anywhere, also inside a character."""

from __future__ import annotations


class LineBuffer:
    """Holds what has come after the last line end. Lines end with a line feed and nothing else."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> list[str]:
        """The lines that `data` completes, without their ends."""
        *whole, self._rest = (self._rest + data).split(b"\n")
        return [line.decode() for line in whole]

    def flush(self) -> list[str]:
        """The last line when it has no end, else nothing."""
        rest, self._rest = self._rest, b""
        return [rest.decode()] if rest else []
