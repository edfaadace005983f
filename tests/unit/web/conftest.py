from __future__ import annotations

from collections.abc import Iterator

import pytest
from flask.testing import FlaskClient

from server.web.app import create_app
from tests.unit.web.fakes import Fakes
from tests.unit.web.loopback import served


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
