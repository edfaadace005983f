"""A container that answers as it is told to, over real HTTP; and SageMaker's runtime before it, as boto3 sees it."""

from __future__ import annotations

import json
import random
import struct
import threading
import zlib
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass(frozen=True)
class Answer:
    """One answer: a status with a body, or a stream of lines that may break off."""

    status: int = 200
    body: bytes = b""
    lines: tuple[dict[str, Any], ...] = ()
    breaks_off: bool = False


@dataclass
class Container:
    """Gives `answers` in order and keeps what it was asked."""

    answers: deque[Answer] = field(default_factory=deque)
    asked: list[dict[str, Any]] = field(default_factory=list)
    seed: int = 0

    def answer(self, body: bytes) -> Answer:
        self.asked.append(json.loads(body))
        return self.answers.popleft()

    def pieces(self, answer: Answer) -> list[bytes]:
        """The stream's bytes, cut anywhere."""
        data = b"".join(json.dumps(line, ensure_ascii=False).encode() + b"\n" for line in answer.lines)
        rng = random.Random(self.seed)
        cuts = sorted(rng.sample(range(1, len(data)), min(7, len(data) - 1))) if len(data) > 1 else []
        return [data[start:end] for start, end in zip([0, *cuts], [*cuts, len(data)], strict=True)]


def record(text: str, session_id: str = "s-1", **more: Any) -> dict[str, Any]:
    """The whole record of an answered turn, as the server writes it."""
    return {
        "outputs": text,
        "session_id": session_id,
        "finish_reason": "stop",
        "sources": [{"title": "Nile", "text": "The Nile is long.", "score": 0.9, "document_id": "d1", "new": 1}],
        "moderation": {"input": {"label": "casual", "scores": {"casual": 1.0}, "log_probs": {}, "blocked": False}},
        "usage": {"prompt_tokens": 12, "cached_tokens": 4, "completion_tokens": 3, "dropped_turns": 0},
        "request_id": "r-1",
        "turn": 1,
        **more,
    }


def answered(text: str, session_id: str = "s-1", **more: Any) -> Answer:
    return Answer(body=json.dumps(record(text, session_id, **more), ensure_ascii=False).encode())


def refused(status: int, code: str, **detail: Any) -> Answer:
    error = {"code": code, "message": f"{code} happened", "request_id": "r-9", "retryable": False, **detail}
    return Answer(status, json.dumps({"error": error}).encode())


def streamed(*texts: str, breaks_off: bool = False, last: dict[str, Any] | None = None) -> Answer:
    pieces = tuple({"outputs": [text]} for text in texts)
    ending = () if breaks_off else (last or record("".join(texts)),)
    return Answer(lines=(*pieces, *ending), breaks_off=breaks_off)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    container: Container

    def log_message(self, format: str, *args: object) -> None:
        """Nothing."""

    def read_body(self) -> bytes:
        return self.rfile.read(int(self.headers["Content-Length"]))

    def send_body(self, status: int, body: bytes, **headers: str) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(body)

    def send_chunks(self, chunks: Iterator[bytes], breaks_off: bool, **headers: str) -> None:
        self.send_response(200)
        for name, value in {"Transfer-Encoding": "chunked", **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        for chunk in chunks:
            self.wfile.write(f"{len(chunk):x}\r\n".encode() + chunk + b"\r\n")
        if breaks_off:
            self.close_connection = True
        else:
            self.wfile.write(b"0\r\n\r\n")


class ContainerHandler(_Handler):
    """POST /invocations."""

    served_path = "/invocations"

    def do_POST(self) -> None:
        assert self.path == self.served_path
        answer = self.container.answer(self.read_body())
        if answer.lines:
            self.send_chunks(iter(self.container.pieces(answer)), answer.breaks_off)
        else:
            self.send_body(answer.status, answer.body, Content_Type="application/json")


class ModerationHandler(ContainerHandler):
    """POST /v1/moderations."""

    served_path = "/v1/moderations"


class SageMakerHandler(_Handler):
    """SageMaker's runtime: every error of the container is a 424, every stream a series of event frames."""

    def do_POST(self) -> None:
        body = self.read_body()
        assert self.path.startswith("/endpoints/talker/invocations")
        assert self.headers["Authorization"].startswith("AWS4-HMAC-SHA256")
        answer = self.container.answer(body)
        if answer.status == 503 and not answer.body:
            message = json.dumps({"Message": "no capacity"}).encode()
            self.send_body(503, message, x_amzn_ErrorType="ServiceUnavailable")
        elif answer.status >= 300:
            self.send_body(424, self._model_error(answer), x_amzn_ErrorType="ModelError")
        elif self.path.endswith("-response-stream"):
            self.send_chunks(self._frames(answer), breaks_off=False, Content_Type="application/vnd.amazon.eventstream")
        else:
            self.send_body(200, answer.body, Content_Type="application/json")

    def _model_error(self, answer: Answer) -> bytes:
        error = {
            "ErrorCode": "CLIENT_ERROR_FROM_MODEL",
            "Message": f"Received client error ({answer.status}) from primary",
            "OriginalStatusCode": answer.status,
            "OriginalMessage": answer.body.decode(),
            "LogStreamArn": "arn:aws:logs:eu-west-1:123456789012:log-group:/aws/sagemaker/Endpoints/talker",
        }
        return json.dumps(error).encode()

    def _frames(self, answer: Answer) -> Iterator[bytes]:
        for piece in self.container.pieces(answer):
            yield frame({":message-type": "event", ":event-type": "PayloadPart"}, piece)
        if answer.breaks_off:
            failure = json.dumps({"Message": "gone", "ErrorCode": "StreamBroken"}).encode()
            yield frame({":message-type": "exception", ":exception-type": "ModelStreamError"}, failure)


def frame(headers: dict[str, str], payload: bytes) -> bytes:
    """One message of AWS's event stream encoding: lengths, checksum, headers, payload, checksum."""
    encoded = b"".join(
        struct.pack("!B", len(name)) + name.encode() + b"\x07" + struct.pack("!H", len(value)) + value.encode()
        for name, value in headers.items()
    )
    prelude = struct.pack("!II", 16 + len(encoded) + len(payload), len(encoded))
    message = prelude + struct.pack("!I", zlib.crc32(prelude)) + encoded + payload
    return message + struct.pack("!I", zlib.crc32(message))


@contextmanager
def serving(handler: type[_Handler], container: Container) -> Iterator[str]:
    """The URL of a server with `handler` for `container`."""
    bound = type("Bound", (handler,), {"container": container})
    server = ThreadingHTTPServer(("127.0.0.1", 0), bound)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
