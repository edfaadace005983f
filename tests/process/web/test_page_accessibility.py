"""axe-core's rules over every state of the chat page."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser

from tests.process.web.page_states import PHONE, STATES, WIDE, show

AXE = Path(__file__).parent / "node_modules" / "axe-core" / "axe.min.js"
RUN = "axe.run().then(found => found.violations.map(v => [v.id, v.impact, v.nodes.map(n => n.html.slice(0, 200))]))"


@pytest.mark.parametrize(("size", "scheme"), [(WIDE, "light"), (PHONE, "dark")])
def test_axe_finds_nothing_serious_in_any_state(browser: Browser, size: dict[str, int], scheme: str) -> None:
    assert AXE.exists(), "axe-core is needed: npm ci --prefix tests/process/web"
    serious: dict[str, Any] = {}
    for state in STATES:
        page = show(browser, state, size, scheme)
        page.evaluate(AXE.read_text("utf-8"))
        found = [each for each in page.evaluate(RUN) if each[1] in ("serious", "critical", "moderate")]
        if found:
            serious[state.__name__] = found
        page.close()
    assert serious == {}
