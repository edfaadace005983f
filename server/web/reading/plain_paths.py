"""Paths as they were meant: base addresses are often joined with a slash too many."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Any

_SLASHES = re.compile("/{2,}")


class PlainPaths:
    """A WSGI application that sees `/v1/models` where `//v1/models/` was asked for."""

    def __init__(self, application: Callable[..., Iterable[bytes]]) -> None:
        self._application = application

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        """As any WSGI application."""
        environ["PATH_INFO"] = plain_path(environ.get("PATH_INFO", ""))
        return self._application(environ, start_response)


def plain_path(path: str) -> str:
    """`path` without doubled slashes and without one at its end."""
    return _SLASHES.sub("/", path).rstrip("/") or "/"
