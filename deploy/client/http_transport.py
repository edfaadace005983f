"""The server at a URL, with the standard library alone."""

from __future__ import annotations

import http.client
import os
import socket
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO
from urllib.parse import urlsplit

from deploy.client.chat_error import ChatError, from_answer
from deploy.client.transport import API_KEY_VARIABLE

_LOOPBACK = {"localhost", "127.0.0.1", "::1"}
_READ_BYTES = 65536


class HttpTransport:
    """POSTs to `url` + `path`. `timeout_s` bounds the wait for the next bytes, not the whole answer."""

    def __init__(self, url: str, timeout_s: float, path: str = "/invocations") -> None:
        self._url = url.rstrip("/") + path
        self._timeout_s = timeout_s
        key = os.environ.get(API_KEY_VARIABLE, "")
        self._key_headers = {"Authorization": f"Bearer {key}"} if key else {}
        local = urlsplit(url).hostname in _LOOPBACK
        handlers = [urllib.request.ProxyHandler({})] if local else []  # a proxy cannot reach this machine's loopback
        self._opener = urllib.request.build_opener(*handlers)

    def post(self, body: bytes) -> bytes:
        """The answer to `body`."""
        with self._answer(body, "application/json") as answer:
            return answer.read()

    @contextmanager
    def stream(self, body: bytes) -> Iterator[Iterator[bytes]]:
        """The answer's bytes as they come."""
        with self._answer(body, "application/jsonlines") as answer:
            yield _pieces(answer)

    @contextmanager
    def _answer(self, body: bytes, accept: str) -> Iterator[http.client.HTTPResponse]:
        headers = {"Content-Type": "application/json", "Accept": accept, **self._key_headers}
        request = urllib.request.Request(self._url, data=body, headers=headers)  # noqa: S310 - the user's own URL
        try:
            with self._opener.open(request, timeout=self._timeout_s) as answer:
                yield answer
        except urllib.error.HTTPError as error:
            raise from_answer(error.code, _body(error)) from error
        except urllib.error.URLError as error:
            raise self._not_sent(error) from error
        except TimeoutError as error:
            raise ChatError("timeout", f"{self._url} was silent for {self._timeout_s:g} s") from error
        except (OSError, http.client.HTTPException) as error:
            raise ChatError("connection_lost", f"{self._url}: {error or type(error).__name__}") from error

    def _not_sent(self, error: urllib.error.URLError) -> ChatError:
        """Only a refused connection or an unknown host surely left the server untouched."""
        untouched = isinstance(error.reason, ConnectionRefusedError | socket.gaierror)
        code = "unreachable" if untouched else "connection_lost"
        return ChatError(code, f"{self._url}: {error.reason}", retryable=untouched)


def _body(error: urllib.error.HTTPError) -> bytes:
    try:
        return error.read()
    except (OSError, http.client.HTTPException):
        return b""


def _pieces(answer: IO[bytes]) -> Iterator[bytes]:
    read = getattr(answer, "read1", answer.read)  # read1 gives what is there, read would wait for all it is asked for
    while data := read(_READ_BYTES):
        yield data
