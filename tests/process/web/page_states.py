"""The states of the chat page, one after the other: for the accessibility test and for the screenshots.

python -m tests.process.web.page_states docs/screenshots
"""

from __future__ import annotations

import os
import shutil
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from playwright.sync_api import Browser, Page, expect, sync_playwright

from server.chat.records.turn_records import Source, TextPiece, TurnRequest, TurnResult
from server.errors import ErrorCode, ServiceError
from tests.unit.web.fakes import OVERRIDE, Fakes, result
from tests.unit.web.loopback import served

ANSWER = """Albedo is the **share of sunlight that a surface reflects** [1]. It goes from 0 to 1.

| surface | albedo |
|---|---|
| fresh snow | 0.8 to 0.9 |
| sea ice | 0.5 to 0.7 |
| ocean | 0.06 |

Because ice reflects more than water, melting ice warms the sea [2]:

```python
absorbed = sunlight * (1 - albedo)
```"""
SOURCES = (
    Source(
        "Albedo", "Albedo is the fraction of sunlight that is diffusely reflected by a body.", 0.83, "39", "39:0",
        "Terrestrial albedo", "https://en.wikipedia.org/wiki/Albedo",
    ),
    Source(
        "Ice-albedo feedback", "Ice has a higher albedo than water, so that a loss of ice leads to warming.", 0.71,
        "40",
        url="https://en.wikipedia.org/wiki/Ice-albedo_feedback",
    ),
)  # fmt: skip
WIDE, PHONE = {"width": 1280, "height": 800}, {"width": 390, "height": 780}


@dataclass
class Stage:
    """A page over stand-ins that do what a state needs."""

    page: Page
    go_on: threading.Event = field(default_factory=threading.Event)

    def ask(self, question: str, *, wait: bool = True) -> None:
        self.page.locator("#question").fill(question)
        self.page.keyboard.press("Enter")
        if wait:
            expect(self.page.locator("#stop")).to_be_hidden()


def scripted(go_on: threading.Event) -> Fakes:
    """Stand-ins for every state."""
    fakes = Fakes()

    def answered(request: TurnRequest) -> TurnResult:
        ended = result(request, ANSWER)
        return TurnResult(
            ended.request_id, ANSWER, ended.session_id, "stop", SOURCES, ended.moderation, ended.usage
        )  # fmt: skip

    def wait(_: TurnRequest) -> TextPiece:
        go_on.wait(60)
        return TextPiece(" end.")

    fakes.turns.scripts["What is albedo?"] = [TextPiece(ANSWER[:40]), answered]
    fakes.turns.scripts["Tell me a story"] = [
        TextPiece("Once upon a time there was a small server"), wait, lambda request: result(request, "Once."),
    ]  # fmt: skip
    fakes.turns.scripts["A threat"] = [lambda request: result(request, OVERRIDE, "moderated_input")]
    failure = ServiceError(ErrorCode.ENGINE_UNAVAILABLE, "the engine group is starting; try again", retry_after_s=5)
    fakes.turns.scripts["And of ice?"] = [failure]
    return fakes


def empty(stage: Stage) -> None:
    expect(stage.page.locator("#status")).to_have_attribute("data-state", "ready")


def answer(stage: Stage) -> None:
    stage.ask("What is albedo?")


def passage(stage: Stage) -> None:
    stage.ask("What is albedo?")
    stage.page.locator(".mark").first.click()


def writing(stage: Stage) -> None:
    stage.ask("Tell me a story", wait=False)
    expect(stage.page.locator("#stop")).to_be_visible()
    expect(stage.page.locator(".reply").last).to_contain_text("small server")


def withheld(stage: Stage) -> None:
    stage.ask("A threat")


def failed(stage: Stage) -> None:
    stage.ask("And of ice?")
    expect(stage.page.locator("#turns [role=alert]").last).to_be_visible()


def stopped(stage: Stage) -> None:
    writing(stage)
    stage.page.get_by_role("button", name="Stop").click()
    expect(stage.page.locator("#turns .note")).to_be_visible()


def settings(stage: Stage) -> None:
    stage.page.get_by_role("button", name="Settings").click()


def conversations(stage: Stage) -> None:
    for question in ("Who was Abraham Lincoln?", "Good morning"):
        stage.ask(question)
        if stage.page.locator("#menu").is_visible():
            stage.page.locator("#menu").click()
        stage.page.get_by_role("button", name="New conversation").click()
    stage.ask("What is albedo?")
    if stage.page.locator("#menu").is_visible():
        stage.page.locator("#menu").click()
    stage.page.locator(".conversations li").first.hover()


STATES: tuple[Callable[[Stage], None], ...] = (
    empty, answer, passage, writing, withheld, failed, stopped, settings, conversations,
)  # fmt: skip


def show(browser: Browser, state: Callable[[Stage], None], size: dict[str, int], scheme: str) -> Page:
    """A page in `state`; close its context when done. The server goes with the process."""
    go_on = threading.Event()
    address = served(scripted(go_on))
    context = browser.new_context(viewport=size, color_scheme=scheme, device_scale_factor=2)  # type: ignore[arg-type]
    page = context.new_page()
    url = address.__enter__()
    page.goto(url)
    page.on("close", lambda _: (go_on.set(), address.__exit__(None, None, None)))
    stage = Stage(page, go_on)
    state(stage)
    return page


def main(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    path = os.environ.get("CHROMIUM") or shutil.which("chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox", "--disable-gpu"])
        for name, size in (("desktop", WIDE), ("phone", PHONE)):
            for scheme in ("light", "dark"):
                for state in STATES:
                    page = show(browser, state, size, scheme)
                    page.screenshot(path=folder / f"{state.__name__}-{name}-{scheme}.png")
                    page.close()
        browser.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
