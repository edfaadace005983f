"""One HTTP request, and every way in which it can end."""

from __future__ import annotations

import http.client
import json
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

TIMEOUT_S = 120.0
CUT = "cut"  # the connection ended before the answer did
ENDLESS = "no end"  # the answer was still not whole when the time was over
TORN = "torn"  # an answer that is whole for HTTP, and is none


@dataclass(frozen=True)
class Answer:
    """How a request ended.

    Attributes:
        status: of HTTP; 0 where none came.
        fault: CUT, ENDLESS or TORN; empty for an answer that is whole, also a refusal.
        record: the answer, of a stream its last line.
        code: the error's word; empty for a success.
    """

    status: int
    fault: str = ""
    record: Any = None
    code: str = ""

    @property
    def is_success(self) -> bool:
        """Whether what was asked for was done."""
        return self.status == 200 and not self.fault and not self.code


@dataclass(frozen=True)
class Server:
    """Where requests go."""

    url: str

    def get(self, path: str) -> Answer:
        """The answer to a GET."""
        return self._send("GET", path, None, {})

    def post(self, path: str, body: Any, **headers: str) -> Answer:
        """The answer to a POST; of a stream, that it began well and its last record."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return self._send("POST", path, body, {"Content-Type": "application/json", **named})

    def leave(self, path: str, body: Any) -> Answer:
        """A POST whose client goes away after the first line of the answer."""
        with closing(self._connection()) as connection:
            try:
                connection.request("POST", path, json.dumps(body), {"Content-Type": "application/json"})
                response = connection.getresponse()
                response.readline()
            except (OSError, http.client.HTTPException):
                return Answer(0, CUT)
            return Answer(response.status)

    def _send(self, method: str, path: str, body: Any, headers: dict[str, str]) -> Answer:
        with closing(self._connection()) as connection:
            try:
                connection.request(method, path, None if body is None else json.dumps(body), headers)
                response = connection.getresponse()
                # Line by line, http.client takes a connection that ends between two chunks for the end of the answer.
                return read_answer(
                    response.status, response.getheader("Content-Type", ""), iter(response.read().split(b"\n"))
                )
            except TimeoutError:
                return Answer(0, ENDLESS)
            except (OSError, http.client.HTTPException):
                return Answer(0, CUT)

    def _connection(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection(urlsplit(self.url).netloc, timeout=TIMEOUT_S)


def read_answer(status: int, content_type: str, lines: Iterator[bytes]) -> Answer:
    """What the lines of an answer amount to. Raises what reading them raises."""
    found = list(lines)
    if content_type.startswith("text/plain"):
        return Answer(status, record=b"\n".join(found).decode("utf-8", "replace"))
    try:
        records = [json.loads(line) for line in _payloads(found, content_type)]
    except ValueError:
        return Answer(status, TORN, found[-1].decode("utf-8", "replace"))
    return _judged(status, content_type, records)


def _judged(status: int, content_type: str, records: list[Any]) -> Answer:
    if not records:
        return Answer(status, TORN, "no record")
    ends = [record for record in records if _is_end(record)]
    if content_type.startswith("application/jsonlines") and (len(ends) != 1 or ends[0] is not records[-1]):
        return Answer(status, TORN, records[-1])
    last = records[-1]
    error = last.get("error") if isinstance(last, dict) else None
    return Answer(status, record=last, code=error["code"] if error else "")


def _is_end(record: Any) -> bool:
    """Whether nothing may follow in a stream: the turn's record, or the error that ended it."""
    return isinstance(record, dict) and ("finish_reason" in record or "error" in record)


def _payloads(lines: list[bytes], content_type: str) -> list[bytes]:
    """The JSON texts of an answer: a stream has one a line, anything else is one."""
    if content_type.startswith("application/jsonlines"):
        return [line for line in lines if line.strip()]
    if content_type.startswith("text/event-stream"):
        data = [line.removeprefix(b"data:").strip() for line in lines if line.startswith(b"data:")]
        return [each for each in data if each != b"[DONE]"] if b"[DONE]" in data else []
    return [b"\n".join(lines)]
