"""An HTTP proxy on loopback before an S3 server: counts ranged reads, and spoils those it is told to."""

from __future__ import annotations

import http.client
import threading
from collections import deque
from enum import Enum, auto
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit


class Fault(Enum):
    FLIPPED = auto()  # one bit of the body is wrong
    CUT = auto()  # the connection ends in the middle of the body
    BUSY = auto()  # 503 SlowDown
    HELD = auto()  # the answer waits until `release` is set


class FaultyS3:
    """Forwards to `url`. `faults` is eaten from the left, one a ranged read; `always` spoils every one."""

    def __init__(self, url: str) -> None:
        self.target = urlsplit(url).netloc
        self.ranges: list[str] = []  # "key range" of every ranged read
        self.faults: deque[Fault | None] = deque()
        self.always: Fault | None = None
        self.release = threading.Event()
        self._lock = threading.Lock()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def fault_for(self, read: str) -> Fault | None:
        with self._lock:
            self.ranges.append(read)
            if self.always is not None:
                return self.always
            return self.faults.popleft() if self.faults else None

    def close(self) -> None:
        self.release.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def _handler(proxy: FaultyS3) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            wanted = self.headers.get("Range")
            fault = proxy.fault_for(f"{self.path.split('?')[0]} {wanted}") if wanted else None
            if fault is Fault.HELD:
                proxy.release.wait(30)
            status, headers, body = (503, [], b"") if fault is Fault.BUSY else self._forward()
            if fault is Fault.FLIPPED and status < 300:
                body = bytes([body[0] ^ 1]) + body[1:]
            self._answer(status, headers, body, cut=fault is Fault.CUT)

        def _forward(self) -> tuple[int, list[tuple[str, str]], bytes]:
            connection = http.client.HTTPConnection(proxy.target, timeout=20)
            connection.request("GET", self.path, headers=dict(self.headers))
            answer = connection.getresponse()
            body = answer.read()
            connection.close()
            return answer.status, answer.getheaders(), body

        def _answer(self, status: int, headers: list[tuple[str, str]], body: bytes, cut: bool) -> None:
            self.send_response_only(status)
            for name, value in headers:
                if name.lower() not in ("content-length", "connection", "transfer-encoding", "server", "date"):
                    self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            try:
                self.wfile.write(body[: len(body) // 2] if cut else body)
            except ConnectionError:
                self.close_connection = True
            self.close_connection = self.close_connection or cut

        def log_message(self, format: str, *arguments: object) -> None:
            """Keep the test's output to the test's."""

    return Handler
