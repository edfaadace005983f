"""What can be done on the chat page beside asking: conversations, trying again, settings, marks, Markdown."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from playwright.sync_api import BrowserContext, Page, expect

from server.chat.records.turn_records import Citation, FoundSources, Source, TextPiece, Turn, TurnRequest, TurnResult
from server.errors import ErrorCode, ServiceError
from tests.unit.web.fakes import Fakes, result
from tests.unit.web.keys.made_keys import MadeKeys
from tests.unit.web.loopback import served

MARKDOWN = """# A title

Some *soft* and **strong** words, `code` and [a link](https://example.org/a).

- one
- two
  1. nested

> quoted

| a | b |
|---|---|
| 1 | 2 |

```python
print("<b>")
```"""


@pytest.fixture
def fakes() -> Fakes:
    return Fakes()


@pytest.fixture
def url(fakes: Fakes) -> Iterator[str]:
    with served(fakes) as address:
        yield f"{address}/"


@pytest.fixture
def page(context: BrowserContext, url: str) -> Page:
    opened = context.new_page()
    opened.goto(url)
    expect(opened.locator("#status")).to_have_attribute("data-state", "ready")
    return opened


def ask(page: Page, question: str) -> None:
    page.locator("#question").fill(question)
    page.keyboard.press("Enter")
    expect(page.locator("#turns > li").last.locator(".mine")).to_have_text(question)
    expect(page.locator("#stop")).to_be_hidden()


def test_conversations_are_listed_searched_renamed_opened_and_deleted(page: Page, fakes: Fakes) -> None:
    ask(page, "Who was Lincoln?")
    page.get_by_role("button", name="New conversation").click()
    ask(page, "What is albedo?")
    titles = page.locator(".conversation")
    expect(titles).to_have_text(["What is albedo?", "Who was Lincoln?"])
    expect(titles.first).to_have_attribute("aria-current", "true")
    page.get_by_role("searchbox").fill("lincoln")
    expect(titles).to_have_text(["Who was Lincoln?"])
    titles.first.hover()
    page.get_by_role("button", name="Rename Who was Lincoln?").click()
    page.get_by_label("New title").fill("Presidents")
    page.keyboard.press("Enter")
    page.get_by_role("searchbox").fill("")
    expect(titles).to_have_text(["What is albedo?", "Presidents"])
    titles.last.click()
    expect(page.locator("#turns .mine")).to_have_text(["Who was Lincoln?"])
    page.reload()
    expect(titles).to_have_text(["What is albedo?", "Presidents"])
    page.once("dialog", lambda dialog: dialog.accept())
    titles.first.hover()
    page.get_by_role("button", name="Delete What is albedo?").click()
    expect(titles).to_have_text(["Presidents"])
    assert len(fakes.store.sessions) == 1


def test_a_question_that_failed_is_asked_again_in_its_place(page: Page, fakes: Fakes) -> None:
    fakes.turns.scripts["hello"] = [ServiceError(ErrorCode.ENGINE_UNAVAILABLE, "a rank died")]
    ask(page, "hello")
    expect(page.get_by_role("alert")).to_contain_text("a rank died")
    del fakes.turns.scripts["hello"]
    page.get_by_role("button", name="Try again").click()
    expect(page.locator("#turns .reply")).to_have_text("You said: hello")
    expect(page.locator("#turns > li")).to_have_count(1)


def test_an_answered_question_is_asked_again_in_its_place(page: Page, fakes: Fakes) -> None:
    ask(page, "one")
    ask(page, "two")
    page.get_by_role("button", name="Ask again").first.click()
    expect(page.locator("#turns .reply")).to_have_text(["You said: one"])
    assert fakes.turns.requests[-1].replaces == 1


def test_an_edited_question_takes_the_place_of_the_first_unless_its_writer_thinks_better_of_it(
    page: Page, fakes: Fakes
) -> None:
    ask(page, "one")
    ask(page, "two")
    page.get_by_role("button", name="Edit").last.click()
    expect(page.locator("#question")).to_be_focused()
    expect(page.locator("#question")).to_have_value("two")
    page.get_by_role("button", name="Keep them").click()
    expect(page.locator("#question")).to_have_value("")
    page.get_by_role("button", name="Edit").last.click()
    ask(page, "two, otherwise")
    expect(page.locator("#turns .reply")).to_have_text(["You said: one", "You said: two, otherwise"])
    assert [request.replaces for request in fakes.turns.requests] == [None, None, 2]


def test_stop_is_told_to_the_server(page: Page, fakes: Fakes) -> None:
    going_on = threading.Event()
    fakes.turns.scripts["hello"] = [TextPiece("Well "), lambda request: going_on.wait(10) and None]
    page.locator("#question").fill("hello")
    page.keyboard.press("Enter")
    expect(page.locator("#turns .reply")).to_contain_text("Well")
    page.locator("#stop").click()
    expect(page.locator("#turns .note")).to_contain_text("not complete is not remembered")
    going_on.set()
    assert fakes.turns.cancelled_names == [fakes.turns.requests[0].session_id]


def test_citations_are_marks_behind_their_sentences_and_a_reply_can_be_rated(page: Page, fakes: Fakes) -> None:
    source = Source("Moon", "The moon is far.", 0.9, "1")

    def cited(request: TurnRequest) -> TurnResult:
        ended = result(request, "\U0001f315 It is far. I think.")
        return msgspec.structs.replace(ended, sources=(source,), citations=(Citation(0, 12, 1),))

    fakes.turns.scripts["moon"] = [FoundSources((source,)), TextPiece("It"), cited]
    ask(page, "moon")
    expect(page.locator(".reply")).to_have_text("\U0001f315 It is far. [1] I think.")
    page.get_by_role("button", name="Source 1: Moon").click()
    expect(page.get_by_text("The moon is far.")).to_be_visible()
    expect(page.locator(".sources")).to_have_count(1)
    good = page.get_by_role("button", name="Good")
    with page.expect_request("**/feedback") as asked:
        good.click()
    assert asked.value.post_data_json == {"rating": "up"}


def test_a_busy_conversation_is_waited_for_and_an_expired_one_begun_anew(page: Page, fakes: Fakes) -> None:
    ask(page, "one")
    failures = [
        ServiceError(ErrorCode.SESSION_BUSY, "busy", retry_after_s=0.05),
        ServiceError(ErrorCode.SESSION_NOT_FOUND, "expired"),
    ]

    def refuse_first(request: TurnRequest) -> TurnResult:
        if failures:
            raise failures.pop(0)
        return result(request, "at last")

    fakes.turns.scripts["two"] = [refuse_first]
    ask(page, "two")
    expect(page.locator("#turns .reply").last).to_have_text("at last")
    asked = [request.session_id for request in fakes.turns.requests if request.text == "two"]
    assert len(asked) == 3
    assert asked[0] == asked[1] != asked[2]


def test_an_unsent_question_survives_a_reload(page: Page) -> None:
    page.locator("#question").fill("half a quest")
    page.reload()
    expect(page.locator("#question")).to_have_value("half a quest")


def test_the_newest_turns_of_a_long_conversation_are_shown_and_the_others_on_demand(page: Page, fakes: Fakes) -> None:
    ask(page, "hello")
    [session_id] = fakes.store.sessions
    fakes.store.sessions[session_id] = [Turn(n, f"q{n}", f"a{n}", "stop", 1.0) for n in range(1, 1203)]
    page.reload()
    expect(page.locator("#turns .mine").last).to_have_text("q1202")
    expect(page.locator("#turns .mine")).to_have_count(50)
    page.get_by_role("button", name="1152 earlier turns").click()
    expect(page.locator("#turns .mine")).to_have_count(100)
    expect(page.locator("#turns .mine").last).to_have_text("q1202")


def test_settings_are_sent_kept_and_taken_back(page: Page, fakes: Fakes) -> None:
    page.get_by_role("button", name="Settings").click()
    page.get_by_label("Temperature").fill("0.5")
    page.get_by_label("top k").fill("7")
    page.get_by_label("Longest answer").fill("33")
    page.get_by_label("Colours").select_option("dark")
    page.get_by_role("button", name="Done").click()
    ask(page, "hello")
    sampling = fakes.turns.requests[0].sampling
    assert (sampling.temperature, sampling.top_k, sampling.max_new_tokens) == (0.5, 7, 33)
    page.reload()
    assert page.evaluate("document.documentElement.dataset.theme") == "dark"
    page.get_by_role("button", name="Settings").click()
    page.get_by_role("button", name="Reset").click()
    page.keyboard.press("Escape")
    ask(page, "hello")
    assert fakes.turns.requests[1].sampling.do_sample is False


def test_marks_open_the_passages_they_name(page: Page, fakes: Fakes) -> None:
    sources = (Source("Moon", "The moon is far.", 0.9, "1"), Source("Sun", "The sun is hot.", 0.8, "2"))

    def marked(request: TurnRequest) -> TurnResult:
        ended = result(request, "It is hot [2] and not [7].")
        return TurnResult(ended.request_id, ended.outputs, ended.session_id, "stop", sources, ended.moderation)

    fakes.turns.scripts["sun"] = [TextPiece("It is hot [2]"), marked]
    ask(page, "sun")
    expect(page.locator(".mark")).to_have_text(["[2]"])
    page.get_by_role("button", name="Source 2: Sun").click()
    expect(page.get_by_text("The sun is hot.")).to_be_visible()
    expect(page.locator(".sources li").nth(1)).to_be_focused()


def test_markdown_becomes_elements_and_code_can_be_copied(page: Page, context: BrowserContext, fakes: Fakes) -> None:
    context.grant_permissions(["clipboard-read", "clipboard-write"])
    fakes.turns.scripts["md"] = [lambda request: result(request, MARKDOWN)]
    ask(page, "md")
    reply = page.locator(".reply")
    for selector, text in {
        "h4": "A title", "em": "soft", "strong": "strong", "p > code": "code", "ul > li ol > li": "nested",
        "blockquote": "quoted", "td >> nth=1": "2", "pre": 'print("<b>")', "a": "a link",
    }.items():  # fmt: skip
        expect(reply.locator(selector)).to_have_text(text)
    expect(reply.locator("b")).to_have_count(0)
    reply.get_by_role("button", name="Copy").click()
    expect(reply.get_by_role("button", name="Copied")).to_be_visible()
    assert page.evaluate("navigator.clipboard.readText()") == 'print("<b>")'


def test_an_answer_does_not_take_the_focus_from_whoever_reads(page: Page, fakes: Fakes) -> None:
    go_on = threading.Event()

    def wait(request: TurnRequest) -> TurnResult:
        assert go_on.wait(30)
        return result(request, "second")

    ask(page, "Who was Lincoln?")
    fakes.turns.scripts["slow"] = [TextPiece("sec"), wait]
    page.locator("#question").fill("slow")
    page.keyboard.press("Enter")
    page.locator("summary").focus()
    go_on.set()
    expect(page.locator("#turns .reply").last).to_have_text("second")
    expect(page.locator("summary")).to_be_focused()


def test_the_enter_that_ends_a_composition_sends_nothing(page: Page, fakes: Fakes) -> None:
    page.locator("#question").fill("にほん")
    page.evaluate(
        """document.getElementById("question").dispatchEvent(
             new KeyboardEvent("keydown", { key: "Enter", keyCode: 229, bubbles: true }))"""
    )
    assert fakes.turns.requests == []
    expect(page.locator("#question")).to_have_value("にほん")


def test_right_to_left_text_is_set_right_to_left(page: Page) -> None:
    ask(page, "مرحبا بالعالم")
    mine = page.locator(".mine")
    assert mine.evaluate("node => getComputedStyle(node).direction") == "rtl"
    expect(page.locator("#question")).to_have_attribute("dir", "auto")


def test_on_a_phone_the_list_is_behind_a_button_and_goes_away_by_keyboard(page: Page) -> None:
    page.set_viewport_size({"width": 390, "height": 700})
    expect(page.get_by_role("searchbox")).to_be_hidden()
    page.get_by_role("button", name="Menu").click()
    expect(page.get_by_role("searchbox")).to_be_focused()
    page.keyboard.press("Escape")
    expect(page.get_by_role("searchbox")).to_be_hidden()
    expect(page.get_by_role("button", name=re.compile("Menu"))).to_be_focused()


def test_a_key_from_the_settings_is_sent_with_every_question(context: BrowserContext, tmp_path: Path) -> None:
    keys = MadeKeys(tmp_path)
    keys.add("alice")
    with served(keys.fakes()) as address:
        page = context.new_page()
        page.goto(f"{address}/")
        expect(page.locator("#status")).to_have_attribute("data-state", "ready")
        ask(page, "Hello")
        expect(page.locator("#turns")).to_contain_text("the API key is missing")
        page.locator("#open-settings").click()
        page.locator("#api_key").fill(keys.secrets["alice"])
        page.locator("#close-settings").click()
        ask(page, "Hello again")
        expect(page.locator("#turns")).to_contain_text("You said: Hello again")
        page.reload()
        expect(page.locator("#turns")).to_contain_text("You said: Hello again")
