"""An HTTP proxy on loopback that counts DynamoDB operations and spoils those it is told to."""

from __future__ import annotations

import http.client
import threading
from collections import deque
from enum import Enum
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit


class Fault(Enum):
    THROTTLED = b'{"__type":"com.amazonaws.dynamodb.v20120810#ProvisionedThroughputExceededException","message":"slow"}'
    DENIED = b'{"__type":"com.amazon.coral.service#AccessDeniedException","Message":"not authorized"}'
    BROKEN = b'{"__type":"com.amazonaws.dynamodb.v20120810#InternalServerError","message":"oops"}'
    REFUSED = b"connection closed before the request was passed on"
    LOST = b"request passed on, answer lost"


STATUS = {Fault.THROTTLED: 400, Fault.DENIED: 400, Fault.BROKEN: 500}


class FaultyProxy:
    """Forwards to `url`. `faults[operation]` is eaten from the left, one fault a request."""

    def __init__(self, url: str) -> None:
        self.target = urlsplit(url).netloc
        self.operations: list[str] = []
        self.faults: dict[str, deque[Fault]] = {}
        self._lock = threading.Lock()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def spoil(self, operation: str, *faults: Fault) -> None:
        self.faults[operation] = deque(faults)

    def take_fault(self, operation: str) -> Fault | None:
        with self._lock:
            self.operations.append(operation)
            waiting = self.faults.get(operation)
            return waiting.popleft() if waiting else None

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def _handler(proxy: FaultyProxy) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            fault = proxy.take_fault(self.headers["X-Amz-Target"].split(".")[-1])
            if fault in STATUS:
                self._reply(STATUS[fault], fault.value)
            elif fault is Fault.REFUSED:
                self.close_connection = True
            else:
                self._forward(body, lose=fault is Fault.LOST)

        def _forward(self, body: bytes, lose: bool) -> None:
            connection = http.client.HTTPConnection(proxy.target, timeout=30)
            connection.request("POST", "/", body, dict(self.headers))
            answer = connection.getresponse()
            content = answer.read()
            connection.close()
            if lose:
                self.close_connection = True
            else:
                self._reply(answer.status, content)

        def _reply(self, status: int, content: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Type", "application/x-amz-json-1.0")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, format: str, *args: object) -> None:
            """Quiet."""

    return Handler
