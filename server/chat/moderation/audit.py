"""The audit log: a line of JSON for every text that was not simply let pass, for whoever answers for the policy."""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import msgspec

from server.chat.records.turn_records import Judgement


class AuditLine(msgspec.Struct, frozen=True, omit_defaults=True):
    """One decision. `text_sha256` tells whether two lines are about one text; `text` is there where it is set so."""

    time: float  # seconds since the epoch
    request: str
    role: str
    judge: str
    label: str
    decision: str  # block | caution
    text_sha256: str
    text: str = ""


class AuditLog:
    """Appends lines to a file, each whole and at once. Thread-safe."""

    def __init__(
        self, path: Path, keeps: Literal["hash", "text"] = "hash", clock: Callable[[], float] = time.time
    ) -> None:
        """Raises OSError where `path` cannot be written."""
        self._file = path.open("ab", buffering=0)
        self._keeps_text = keeps == "text"
        self._clock = clock
        self._lock = threading.Lock()

    def note(self, request_id: str, role: str, verdict: Judgement, text: str) -> None:
        """Write down what was decided about `text`, unless it was let pass."""
        if not (verdict.blocked or verdict.caution):
            return
        line = AuditLine(
            time=self._clock(),
            request=request_id,
            role=role,
            judge=verdict.judge,
            label=verdict.label,
            decision="block" if verdict.blocked else "caution",
            text_sha256=hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest(),
            text=text if self._keeps_text else "",
        )
        with self._lock:
            self._file.write(msgspec.json.encode(line) + b"\n")

    def close(self) -> None:
        """Let go of the file."""
        self._file.close()
