"""A model hub on loopback with the endpoints that a snapshot download uses; it counts what is fetched."""

from __future__ import annotations

import hashlib
import json
import re
import threading
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

COMMIT = "0123456789abcdef0123456789abcdef01234567"


class FakeHub:
    """One model `some/model` with `files` at the revisions "main" and "v2"."""

    def __init__(self, files: dict[str, bytes]) -> None:
        self.fetched: Counter[str] = Counter()
        hub = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.answer(with_body=True)

            def do_HEAD(self) -> None:
                self.answer(with_body=False)

            def log_message(self, *_: object) -> None:
                pass

            def answer(self, *, with_body: bool) -> None:
                path = self.path.partition("?")[0]
                if re.fullmatch(r"/api/models/some/model(/revision/(main|v2))?", path):
                    self.send(json.dumps({"id": "some/model", "sha": COMMIT, "siblings": []}).encode())
                elif path == f"/api/models/some/model/tree/{COMMIT}":
                    self.send(json.dumps([entry(name, data) for name, data in files.items()]).encode())
                elif (match := re.fullmatch(r"/some/model/resolve/[^/]+/(.+)", path)) and match[1] in files:
                    if with_body:
                        hub.fetched[match[1]] += 1
                    self.send(files[match[1]], with_body=with_body)
                else:
                    self.send(b'{"error": "Repository not found"}', status=404, code="RepoNotFound")

            def send(self, body: bytes, *, status: int = 200, code: str = "", with_body: bool = True) -> None:
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.send_header("Content-Type", "application/json")
                self.send_header("X-Repo-Commit", COMMIT)
                self.send_header("ETag", f'"{hashlib.sha1(body).hexdigest()}"')
                if code:
                    self.send_header("X-Error-Code", code)
                self.end_headers()
                if with_body:
                    self.wfile.write(body)

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


def entry(name: str, data: bytes) -> dict[str, object]:
    return {"type": "file", "path": name, "size": len(data), "oid": hashlib.sha1(data).hexdigest()}
