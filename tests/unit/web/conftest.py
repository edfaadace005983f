from __future__ import annotations

from collections.abc import Iterator

import pytest
from fakes import Fakes
from flask.testing import FlaskClient
from loopback import served

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
    with served(fakes) as address:
        yield address
