from __future__ import annotations

from pathlib import Path

import pytest

from tests.unit.web.keys.made_keys import MadeKeys


@pytest.fixture
def keys(tmp_path: Path) -> MadeKeys:
    """alice and bob, and olga, an operator."""
    made = MadeKeys(tmp_path)
    made.add("alice")
    made.add("bob")
    made.add("olga", role="operator")
    return made
