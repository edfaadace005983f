from __future__ import annotations

import pytest
from fakes import Fakes
from flask.testing import FlaskClient

from server.web.app import create_app


@pytest.fixture
def fakes() -> Fakes:
    return Fakes()


@pytest.fixture
def client(fakes: Fakes) -> FlaskClient:
    return create_app(fakes.services).test_client()
