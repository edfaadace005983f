"""A server under load: one streamed chat completion, with the times at which its text came."""

from __future__ import annotations

import http.client
import json
import ssl
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol
from urllib.parse import urlsplit

_TIMEOUT_S = 300.0


@dataclass(frozen=True)
class Answer:
    """One request. Times are seconds since `began_at`, which is seconds since the run's beginning.

    Attributes:
        error: a word for what went wrong; empty for an answer.
        pieces: when each piece of text came.
    """

    began_at: float
    whole_s: float
    pieces: tuple[float, ...] = ()
    text: str = ""
    num_prompt_tokens: int = 0
    num_new_tokens: int = 0
    finish_reason: str = ""
    error: str = ""

    @property
    def first_s(self) -> float:
        """To the first text; the whole time where no text came."""
        return self.pieces[0] if self.pieces else self.whole_s

    @property
    def between_s(self) -> float | None:
        """Mean time between tokens; None for fewer than two."""
        if self.num_new_tokens < 2 or not self.pieces:
            return None
        return (self.whole_s - self.pieces[0]) / (self.num_new_tokens - 1)


class Target(Protocol):
    """Something that answers a chat request with OpenAI's events."""

    def lines(self, body: dict[str, Any]) -> Iterator[bytes]:
        """The lines of the answer as they come. Raises Refused, or OSError and the like."""
        ...


class Refused(Exception):
    """The server answered with an error; its word."""


class UrlTarget:
    """Any server with OpenAI's routes. One connection a request, so that open load needs no pool."""

    def __init__(self, url: str, key: str = "none") -> None:
        self._parts = urlsplit(url if "//" in url else f"http://{url}")
        self._path = f"{self._parts.path.rstrip('/').removesuffix('/v1')}/v1/chat/completions"
        self._headers = {"Content-Type": "application/json", "Authorization": f"Bearer {key}"}

    def lines(self, body: dict[str, Any]) -> Iterator[bytes]:
        """The lines of the answer as they come."""
        connection = self._connect()
        try:
            connection.request("POST", self._path, json.dumps(body), self._headers)
            response = connection.getresponse()
            if response.status != 200:
                raise Refused(_word(response.status, response.read()))
            yield from iter(response.readline, b"")
        finally:
            connection.close()

    def _connect(self) -> http.client.HTTPConnection:
        host, port = self._parts.hostname or "", self._parts.port
        if self._parts.scheme == "https":
            return http.client.HTTPSConnection(host, port, timeout=_TIMEOUT_S, context=ssl.create_default_context())
        return http.client.HTTPConnection(host, port, timeout=_TIMEOUT_S)


class EndpointTarget:
    """A SageMaker endpoint that serves this image: its one path takes chat requests, too."""

    def __init__(self, name: str, region: str | None) -> None:
        import boto3

        self._name = name
        self._runtime = boto3.client("sagemaker-runtime", region_name=region)

    def lines(self, body: dict[str, Any]) -> Iterator[bytes]:
        """The lines of the answer as they come."""
        found = self._runtime.invoke_endpoint_with_response_stream(
            EndpointName=self._name, ContentType="application/json", Accept="text/event-stream", Body=json.dumps(body)
        )
        rest = b""
        for event in found["Body"]:
            *whole, rest = (rest + event["PayloadPart"]["Bytes"]).split(b"\n")
            yield from whole


def ask(target: Target, body: dict[str, Any], run_began: float) -> Answer:
    """Ask and read to the end; whatever goes wrong is an answer with an error."""
    began = time.perf_counter()
    pieces: list[float] = []
    said: list[str] = []
    usage: dict[str, int] = {}
    reason = error = ""
    try:
        for event in _events(target.lines({**body, "stream": True, "stream_options": {"include_usage": True}})):
            usage = event.get("usage") or usage
            error = event.get("error", {}).get("code") or error
            for choice in event.get("choices", ()):
                reason = choice.get("finish_reason") or reason
                if text := choice.get("delta", {}).get("content"):
                    pieces.append(time.perf_counter() - began)
                    said.append(text)
    except Refused as refused:
        error = str(refused)
    except Exception as failure:  # noqa: BLE001 - a connection fails in many ways, and each is a figure
        error = type(failure).__name__
    whole_s = time.perf_counter() - began
    return Answer(
        began_at=began - run_began,
        whole_s=whole_s,
        pieces=tuple(pieces),
        text="".join(said),
        num_prompt_tokens=usage.get("prompt_tokens", 0),
        num_new_tokens=usage.get("completion_tokens", len(pieces)),
        finish_reason=reason,
        error=error or ("" if reason else "cut_off"),
    )


def _events(lines: Iterator[bytes]) -> Iterator[dict[str, Any]]:
    for line in lines:
        data = line.strip().removeprefix(b"data:").strip()
        if line.startswith(b"data:") and data != b"[DONE]":
            yield json.loads(data)


def _word(status: int, body: bytes) -> str:
    try:
        return str(json.loads(body)["error"]["code"])
    except (ValueError, KeyError, TypeError):
        return f"http_{status}"
