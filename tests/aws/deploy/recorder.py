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
    """Keeps method and path of every request, and the parameters of those in JSON."""

    app: Callable[..., Iterable[bytes]]
    received: list[Received] = field(default_factory=list)
    paths: list[tuple[str, str]] = field(default_factory=list)

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        if environ["PATH_INFO"].startswith("/moto-api/"):
            return self.app(environ, start_response)
        self.paths.append((environ["REQUEST_METHOD"], environ["PATH_INFO"]))
        target = environ.get("HTTP_X_AMZ_TARGET", "")
        if target:
            body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
            environ["wsgi.input"] = io.BytesIO(body)
            self.received.append(Received(target.rpartition(".")[2], json.loads(body or b"{}")))
        return self.app(environ, start_response)

    def of(self, operation: str) -> list[dict[str, Any]]:
        """The parameters of every request for `operation`, in order."""
        return [entry.parameters for entry in self.received if entry.operation == operation]

    @property
    def num_requests(self) -> int:
        return len(self.paths)

    def clear(self) -> None:
        self.received.clear()
        self.paths.clear()
