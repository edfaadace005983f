"""A front over stand-ins, served on loopback by a thread of this process."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from werkzeug.serving import make_server

from server.web.app import create_app
from tests.unit.web.fakes import Fakes


@contextmanager
def served(fakes: Fakes) -> Iterator[str]:
    """The front's address, without a slash at its end."""
    server = make_server("127.0.0.1", 0, create_app(fakes.services), threaded=True)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
