"""A WSGI layer before moto that keeps every request as the server got it."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Received:
    """One request of a JSON service."""

    operation: str
    parameters: dict[str, Any]


@dataclass
class Recorder:
    """Keeps the JSON requests, by operation, and counts the others."""

    app: Callable[..., Iterable[bytes]]
    received: list[Received] = field(default_factory=list)
    num_requests: int = 0

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        if environ["PATH_INFO"].startswith("/moto-api/"):
            return self.app(environ, start_response)
        self.num_requests += 1
        target = environ.get("HTTP_X_AMZ_TARGET", "")
        if target:
            body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
            environ["wsgi.input"] = io.BytesIO(body)
            self.received.append(Received(target.rpartition(".")[2], json.loads(body or b"{}")))
        return self.app(environ, start_response)

    def of(self, operation: str) -> list[dict[str, Any]]:
        """The parameters of every request for `operation`, in order."""
        return [entry.parameters for entry in self.received if entry.operation == operation]

    def clear(self) -> None:
        self.received.clear()
        self.num_requests = 0
