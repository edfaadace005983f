from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest
from fakes import Fakes
from flask.testing import FlaskClient
from werkzeug.serving import make_server

from server.web.app import create_app


@pytest.fixture
def fakes() -> Fakes:
    return Fakes()


@pytest.fixture
def client(fakes: Fakes) -> FlaskClient:
    return create_app(fakes.services).test_client()


@pytest.fixture
def url(fakes: Fakes) -> Iterator[str]:
    """A front over `fakes`, served on loopback."""
    server = make_server("127.0.0.1", 0, create_app(fakes.services), threaded=True)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield f"http://127.0.0.1:{server.port}"
    server.shutdown()
    thread.join()
    server.server_close()
