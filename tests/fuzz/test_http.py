from __future__ import annotations

from tests.fuzz.app import make_app
from tests.fuzz.http import fuzz


def test_a_thousand_odd_requests_are_answered_or_refused_in_the_shape_of_all_errors() -> None:
    found = fuzz(make_app(), 1000, seed=1)
    assert found.faults == []
    assert found.statuses[200] > 100
    assert found.statuses[400] > 200
    assert found.statuses[429] == 0
