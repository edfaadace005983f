"""The chat page in a real Chromium."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Iterator

import pytest
from playwright.sync_api import BrowserContext, ConsoleMessage, Page, expect

from server.chat.records.turn_records import KeepAlive, Source, TextPiece, TurnEvent, TurnRequest, TurnResult
from server.errors import ErrorCode, ServiceError
from tests.unit.web.fakes import LINCOLN, OVERRIDE, Fakes, result
from tests.unit.web.loopback import served

HOSTILE = '<img src=x onerror="alert(1)"><script>alert(2)</script>&lt;b&gt;'


@pytest.fixture
def fakes() -> Fakes:
    return Fakes()


@pytest.fixture
def url(fakes: Fakes) -> Iterator[str]:
    with served(fakes) as address:
        yield f"{address}/"


@pytest.fixture
def troubles() -> list[str]:
    """What the browser complained of: script errors, policy violations, dialogs."""
    return []


@pytest.fixture
def page(context: BrowserContext, url: str, troubles: list[str]) -> Page:
    opened = context.new_page()

    def on_console(message: ConsoleMessage) -> None:
        if message.type == "error" and "Failed to load resource" not in message.text:
            troubles.append(message.text)

    opened.on("console", on_console)
    opened.on("pageerror", lambda error: troubles.append(str(error)))
    opened.on("request", lambda request: request.url.startswith(url) or troubles.append(request.url))
    opened.goto(url)
    expect(opened.locator("#status")).to_have_attribute("data-state", "ready")
    return opened


def ask(page: Page, question: str) -> None:
    """Ask by keyboard and wait until the turn is over."""
    page.locator("#question").fill(question)
    page.keyboard.press("Enter")
    expect(page.locator("#turns > li").last.locator(".mine")).to_have_text(question)
    expect(page.locator("#stop")).to_be_hidden()


def test_an_answer_comes_with_its_source_its_verdicts_and_how_it_ended(page: Page, troubles: list[str]) -> None:
    expect(page.locator("#status")).to_have_text("2 ranks · bfloat16 · moderation on · with passages")
    page.get_by_role("button", name="Who was Abraham Lincoln?").click()
    turn = page.locator("#turns > li")
    expect(turn.locator(".reply")).to_have_text("You said: Who was Abraham Lincoln?")
    expect(turn.locator(".facts li")).to_have_text(
        [
            "complete", "input: casual", "output: casual", "20 (16 reused) + 6 tokens",
            re.compile(r"first words \d+\.\d s · \d+\.\d tokens/s"),
        ]
    )  # fmt: skip
    turn.locator("summary").click()
    link = turn.get_by_role("link", name="Abraham Lincoln")
    expect(link).to_have_attribute("href", LINCOLN.url)
    expect(link).to_have_attribute("rel", "noopener noreferrer")
    expect(turn.locator(".sources p")).to_have_text(LINCOLN.text)
    expect(page.locator("#welcome")).to_be_hidden()
    assert troubles == []


def test_pieces_appear_while_the_turn_is_still_going_on(fakes: Fakes, page: Page, troubles: list[str]) -> None:
    go_on = threading.Event()

    def wait(_: TurnRequest) -> TurnEvent:
        assert go_on.wait(30)
        return TextPiece("second")

    fakes.turns.scripts["slow"] = [
        TextPiece("first "), KeepAlive(), wait, lambda request: result(request, "first second"),
    ]  # fmt: skip
    page.locator("#question").fill("slow")
    page.locator("#send").click()
    reply = page.locator("#turns .reply")
    expect(reply).to_have_text("first ")
    expect(page.locator("#turns .answer")).to_have_attribute("aria-busy", "true")
    expect(page.locator("#send")).to_be_disabled()
    go_on.set()
    expect(reply).to_have_text("first second")
    expect(page.locator("#turns .answer")).to_have_attribute("aria-busy", "false")
    expect(page.locator("#send")).to_be_enabled()
    expect(page.locator("#question")).to_be_focused()
    assert troubles == []


def test_stop_cancels_the_turn(fakes: Fakes, page: Page) -> None:
    def tick(_: TurnRequest) -> TurnEvent:
        fakes.turns.cancelled.wait(0.02)
        return KeepAlive()

    fakes.turns.scripts["endless"] = [TextPiece("first "), *[tick] * 2000]
    page.locator("#question").fill("endless")
    page.keyboard.press("Enter")
    expect(page.locator("#turns .reply")).to_have_text("first ")
    page.get_by_role("button", name="Stop").click()
    expect(page.locator("#turns .note")).to_contain_text("Stopped")
    assert fakes.turns.cancelled.wait(30)
    ask(page, "hello")
    expect(page.locator("#turns .reply").last).to_have_text("You said: hello")


def test_a_conversation_is_restored_after_a_reload_and_left_by_the_button(page: Page, fakes: Fakes) -> None:
    ask(page, "Who was Lincoln?")
    ask(page, "And then?")
    [session_id] = fakes.store.sessions
    page.reload()
    expect(page.locator("#turns .mine")).to_have_text(["Who was Lincoln?", "And then?"])
    expect(page.locator("#turns .reply").first).to_have_text("You said: Who was Lincoln?")
    expect(page.locator("#turns summary")).to_have_text("Source: Abraham Lincoln")
    ask(page, "Go on")
    assert [turn.user for turn in fakes.store.sessions[session_id]] == ["Who was Lincoln?", "And then?", "Go on"]
    page.get_by_role("button", name="New conversation").click()
    expect(page.locator("#turns > li")).to_have_count(0)
    expect(page.locator("#welcome")).to_be_visible()
    ask(page, "hello")
    assert len(fakes.store.sessions) == 2
    page.reload()
    expect(page.locator("#turns .mine")).to_have_text(["hello"])


def test_erasing_a_conversation_deletes_it_on_the_server(page: Page, fakes: Fakes) -> None:
    expect(page.get_by_role("button", name="Erase")).to_be_hidden()
    ask(page, "hello")
    page.once("dialog", lambda dialog: dialog.accept())
    page.get_by_role("button", name="Erase").click()
    expect(page.locator("#turns > li")).to_have_count(0)
    expect(page.get_by_role("button", name="Erase")).to_be_hidden()
    assert fakes.store.sessions == {}


def test_a_conversation_that_has_expired_is_forgotten(page: Page, fakes: Fakes) -> None:
    ask(page, "hello")
    fakes.store.sessions.clear()
    page.reload()
    # The welcome stands before the server has said that the session is gone.
    deadline = time.monotonic() + 60
    while page.evaluate("localStorage.getItem('openchatkit.session')") is not None:
        assert time.monotonic() < deadline
        page.wait_for_timeout(20)
    expect(page.locator("#welcome")).to_be_visible()


def test_a_withheld_turn_shows_the_override_message_and_why(fakes: Fakes, page: Page) -> None:
    fakes.turns.scripts["threat"] = [lambda request: result(request, OVERRIDE, "moderated_input")]
    fakes.turns.scripts["leak"] = [
        TextPiece("Fine so far. "), TextPiece(OVERRIDE), lambda request: result(request, OVERRIDE, "moderated_output"),
    ]  # fmt: skip
    for question, why in (("threat", "question withheld by moderation"), ("leak", "reply withheld by moderation")):
        ask(page, question)
        turn = page.locator("#turns > li").last
        expect(turn.locator(".withheld .reply")).to_have_text(OVERRIDE)
        expect(turn.locator(".facts .warn")).to_have_text(why)


@pytest.mark.parametrize("begun", [False, True])
def test_a_failure_is_shown_with_its_code_and_the_page_goes_on(fakes: Fakes, page: Page, begun: bool) -> None:
    failure = ServiceError(ErrorCode.ENGINE_UNAVAILABLE, "a rank died; the group starts again")
    fakes.turns.scripts["fail"] = [*([TextPiece("Fine ")] if begun else []), failure]
    ask(page, "fail")
    expect(page.get_by_role("alert")).to_contain_text("a rank died; the group starts again")
    expect(page.get_by_role("alert").locator("code")).to_contain_text("engine_unavailable · req-")
    ask(page, "hello")
    expect(page.locator("#turns .reply").last).to_have_text("You said: hello")


def test_hostile_text_stays_text_wherever_it_stands(fakes: Fakes, page: Page, troubles: list[str]) -> None:
    def hostile(request: TurnRequest) -> TurnResult:
        source = Source(HOSTILE, HOSTILE, 0.5, "1", section=HOSTILE, url="javascript:alert(3)")
        ended = result(request, HOSTILE)
        return TurnResult(
            ended.request_id, HOSTILE, ended.session_id, "stop", (source,), ended.moderation, ended.usage, (HOSTILE,)
        )

    page.on("dialog", lambda dialog: troubles.append(dialog.message) or dialog.dismiss())
    fakes.turns.scripts[HOSTILE] = [TextPiece(HOSTILE), hostile]
    ask(page, HOSTILE)
    turn = page.locator("#turns > li")
    turn.locator("summary").click()
    for place in (".mine", ".reply", ".sources p", ".facts .warn"):
        expect(turn.locator(place)).to_have_text(HOSTILE)
    expect(turn.locator(".sources h4")).to_contain_text(HOSTILE)
    expect(turn.locator("a, img, script")).to_have_count(0)
    assert troubles == []


def test_the_switch_turns_retrieval_off_and_is_remembered(fakes: Fakes, page: Page) -> None:
    ask(page, "one")
    page.get_by_role("switch", name="Look up passages").uncheck()
    ask(page, "two")
    page.reload()
    expect(page.get_by_role("switch", name="Look up passages")).not_to_be_checked()
    ask(page, "three")
    assert [request.retrieval for request in fakes.turns.requests] == [True, False, False]


def test_everything_can_be_reached_by_keyboard(page: Page, fakes: Fakes) -> None:
    expect(page.locator("#question")).to_be_focused()
    page.keyboard.type("one line")
    page.keyboard.press("Shift+Enter")
    page.keyboard.type("and another")
    page.keyboard.press("Tab")
    expect(page.get_by_role("switch", name="Look up passages")).to_be_focused()
    page.keyboard.press("Space")
    page.keyboard.press("Tab")
    expect(page.get_by_role("button", name="Send")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator("#turns .mine")).to_have_text("one line\nand another")
    expect(page.locator("#question")).to_be_focused()
    assert fakes.turns.requests[0].text == "one line\nand another"
    assert fakes.turns.requests[0].retrieval is False


def test_an_empty_question_is_not_sent(fakes: Fakes, page: Page) -> None:
    page.locator("#question").fill("  \n ")
    page.keyboard.press("Enter")
    ask(page, "hello")
    assert [request.text for request in fakes.turns.requests] == ["hello"]


@pytest.mark.parametrize("width", [320, 768])
def test_nothing_is_wider_than_a_narrow_screen(fakes: Fakes, page: Page, width: int) -> None:
    word = "x" * 400
    fakes.turns.scripts["wide"] = [lambda request: result(request, word)]
    page.set_viewport_size({"width": width, "height": 560})
    ask(page, "wide")
    ask(page, "Who was Lincoln?")
    page.locator("summary").click()
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.evaluate("document.querySelector('main').scrollWidth") <= width
    expect(page.locator("#send")).to_be_in_viewport()
    expect(page.locator("#turns .sources p")).to_be_in_viewport()


def test_a_server_that_is_not_ready_is_shown_as_starting(fakes: Fakes, context: BrowserContext, url: str) -> None:
    fakes.engine.ready = False
    page = context.new_page()
    page.goto(url)
    expect(page.locator("#status")).to_have_text("the engine is starting")
    fakes.engine.ready = True
    expect(page.locator("#status")).to_have_attribute("data-state", "ready")


def test_without_moderation_the_page_says_so(context: BrowserContext) -> None:
    with served(Fakes(moderator=None, policy=None, retriever=None)) as address:
        page = context.new_page()
        page.goto(address)
        expect(page.locator("#status")).to_contain_text("moderation off · no index")
