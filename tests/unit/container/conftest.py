from __future__ import annotations

import pytest

from tests.unit.container.still_clock import Clock


@pytest.fixture
def clock() -> Clock:
    return Clock()
