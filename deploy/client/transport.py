"""How a request reaches the server: one body out, one body or a stream of bytes back."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager
from typing import Protocol

API_KEY_VARIABLE = "OPENCHATKIT_API_KEY"  # the environment variable with the key, where the server asks for one


class Transport(Protocol):
    """Raises ChatError for whatever goes wrong, retryable only when the request has surely not been answered."""

    def post(self, body: bytes) -> bytes:
        """The answer to `body`."""
        ...

    def stream(self, body: bytes) -> AbstractContextManager[Iterator[bytes]]:
        """The answer to `body` as it comes, cut anywhere. Leaving the context early ends the request."""
        ...
