"""One turn over real rows in memory: what is stored, what is refused, and what is left behind when something fails."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from server import wire
from server.chat.moderation.policy import Role
from server.chat.records.turn_records import (
    Citation,
    FoundSources,
    KeepAlive,
    SearchWish,
    Session,
    TextPiece,
    Turn,
    TurnResult,
)
from server.chat.turn_search import SearchSettings
from server.errors import ErrorCode, ServiceError
from server.retrieval.passage_filter import PassageFilter
from server.retrieval.query import Exchange
from server.retrieval.retriever import Passage, RetrievalError
from tests.unit.chat.prompt.chat_tokenizers import chat_tokenizer
from tests.unit.chat.turn_bench import EXECUTOR, WAIT_S, Bench, brought, request
from tests.unit.chat.turn_doubles import Engine, Index


def wait_until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + WAIT_S
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_turn_is_answered_and_stored_by_one_read_one_claim_and_one_write() -> None:
    bench = Bench(index=Index())
    for number in (1, 2):
        result = bench.ask()
        assert (result.outputs, result.finish_reason, result.turn) == ("It is so.", "stop", number)
        assert [source.title for source in result.sources] == ["Albedo"]
    assert bench.rows.calls == ["newest", "put_if_free", "replace_open"] * 2
    assert [(turn.turn, turn.user, turn.reply) for turn in bench.stored()] == [
        (1, "Is it so?", "It is so."),
        (2, "Is it so?", "It is so."),
    ]
    assert {(turn.model, turn.index_version) for turn in bench.stored()} == {("model 1", "index 1")}


@pytest.mark.parametrize("waits", [False, True])
def test_only_a_store_that_may_take_a_while_is_asked_by_another_thread(waits: bool) -> None:
    bench = Bench()
    bench.store.waits = waits
    asking: set[bool] = set()
    for call in ("newest", "put_if_free", "replace_open"):
        bench.rows.before[call] = lambda: asking.add(threading.current_thread() is threading.main_thread())
    assert bench.ask().turn == 1
    assert asking == {not waits}


def test_judging_begins_before_the_session_is_loaded_and_searching_before_it_is_claimed() -> None:
    bench = Bench(index=Index())
    assert bench.index is not None
    began: list[bool] = []
    judge, index = bench.judge.begun, bench.index.begun
    bench.rows.before["newest"] = lambda: began.append(judge.wait(WAIT_S))
    bench.rows.before["put_if_free"] = lambda: began.append(index.wait(WAIT_S))
    bench.ask()
    assert began == [True, True]


def test_a_required_session_that_is_unknown_is_404_and_nothing_is_generated_or_left() -> None:
    bench = Bench(require_session=True)
    error = bench.refusal()
    assert error.code is ErrorCode.SESSION_NOT_FOUND
    assert error.field == "parameters.session_id"
    assert bench.engine.started == []
    assert bench.rows.calls == ["newest"]
    bench.store.create("s")
    assert bench.ask().turn == 1


@pytest.mark.parametrize("piecewise", [False, True])
def test_a_judge_or_an_index_that_fails_does_not_hide_the_error_of_the_session(piecewise: bool) -> None:
    def fail() -> list[Passage]:
        raise RetrievalError("the index is gone")

    bench = Bench(index=Index(fail), require_session=True)
    with pytest.raises(ServiceError) as caught:
        list(bench.turns.stream(request("Hi")) if piecewise else [bench.ask("Hi")])
    assert caught.value.code is ErrorCode.SESSION_NOT_FOUND


def test_a_busy_session_is_waited_for_and_its_new_turn_is_read() -> None:
    bench = Bench(session_wait_s=WAIT_S)
    claim = bench.store.claim(Session("s", 1.0), "another front")
    answered = EXECUTOR.submit(bench.ask)
    wait_until(lambda: bench.rows.calls.count("put_if_free") >= 3)
    bench.store.complete(claim, Turn(1, "before", "it was", "stop", 1.0))
    assert answered.result(WAIT_S).turn == 2
    assert "before" in chat_tokenizer("ordinary").decode(list(bench.engine.started[0].prompt))


@pytest.mark.parametrize(("session_wait_s", "deadline_s"), [(0.0, 60.0), (0.5, 60.0), (600.0, 0.5)])
def test_a_session_that_stays_busy_is_409_after_the_wait_or_the_deadline(
    session_wait_s: float, deadline_s: float
) -> None:
    bench = Bench(session_wait_s=session_wait_s)
    claim = bench.store.claim(Session("s", 1.0), "another front")
    begun = time.monotonic()
    error = bench.refusal(deadline_s=deadline_s)
    assert min(session_wait_s, deadline_s) <= time.monotonic() - begun < WAIT_S
    assert error.code is ErrorCode.SESSION_BUSY
    assert error.retry_after_s
    assert bench.engine.started == []
    bench.store.complete(claim, Turn(1, "before", "it was", "stop", 1.0))
    assert bench.ask().turn == 2


@pytest.mark.parametrize("broken", ["newest", "put_if_free", "replace_open"])
def test_a_store_outage_is_503_and_a_retry_stores_the_turn_once(broken: str) -> None:
    bench = Bench()
    bench.rows.broken = {broken}
    error = bench.refusal()
    assert error.code is ErrorCode.STORE_UNAVAILABLE
    assert error.retry_after_s
    assert len(bench.engine.started) == (broken == "replace_open")
    bench.rows.broken.clear()
    assert bench.stored() == []
    assert bench.rows.get("s", 1) is None, "the claim is left behind"
    assert bench.ask().turn == 1
    assert [turn.turn for turn in bench.stored()] == [1]


def test_a_claim_that_cannot_be_released_in_an_outage_is_taken_over_by_the_retry() -> None:
    bench = Bench()
    bench.rows.broken = {"replace_open", "remove_open"}
    assert bench.refusal().code is ErrorCode.STORE_UNAVAILABLE
    bench.rows.broken.clear()
    assert bench.ask().turn == 1
    assert [turn.turn for turn in bench.stored()] == [1]


def test_a_search_that_fails_gives_an_answer_with_a_warning_and_no_sources() -> None:
    def fail() -> list[Passage]:
        raise RetrievalError("the index is gone")

    bench = Bench(index=Index(fail))
    result = bench.ask()
    assert result.outputs == "It is so."
    assert result.sources == ()
    assert result.warnings == ("retrieval failed; the answer has no sources",)
    assert [turn.sources for turn in bench.stored()] == [()]


def test_a_search_that_takes_too_long_gives_an_answer_with_a_warning_and_no_sources() -> None:
    released = threading.Event()

    def wait() -> list[Passage]:
        released.wait(WAIT_S)
        return []

    result = Bench(index=Index(wait), search=SearchSettings(timeout_s=0.05)).ask()
    released.set()
    assert (result.outputs, result.sources) == ("It is so.", ())
    assert result.warnings == ("retrieval failed; the answer has no sources",)


@pytest.mark.parametrize("piecewise", [False, True])
@pytest.mark.parametrize("text", ["", "\n", "<pad>"])
def test_a_deadline_before_the_first_word_is_504_and_nothing_is_stored(text: str, piecewise: bool) -> None:
    bench = Bench(Engine(text, "deadline"))
    with pytest.raises(ServiceError) as caught:
        list(bench.turns.stream(request("Hi")) if piecewise else [bench.ask("Hi")])
    assert caught.value.code is ErrorCode.DEADLINE
    assert bench.stored() == []
    assert bench.rows.get("s", 1) is None, "the claim is left behind"


def test_a_shutdown_before_the_first_word_is_503_and_nothing_is_stored() -> None:
    bench = Bench(Engine(silent=True))
    events = bench.turns.stream(request("Hi"))
    assert isinstance(next(events), KeepAlive)
    bench.turns.end_all()
    with pytest.raises(ServiceError) as caught:
        list(events)
    assert caught.value.code is ErrorCode.SHUTTING_DOWN
    assert caught.value.retry_after_s
    assert bench.stored() == []
    assert bench.rows.get("s", 1) is None, "the claim is left behind"


def test_a_deadline_in_the_middle_of_a_reply_stores_what_there_is() -> None:
    bench = Bench(Engine("It is", "deadline"))
    assert bench.ask().finish_reason == "deadline"
    assert [(turn.reply, turn.finish_reason) for turn in bench.stored()] == [("It is", "deadline")]


@pytest.mark.parametrize("text", [" " * 400_000 + "Hi", "Hi" + "\n" * 200_000, "\x1c" * 50_000 + "Hi\u200b"])
def test_blanks_cost_nothing_a_question_is_judged_prompted_searched_for_and_stored_as_what_it_says(text: str) -> None:
    bench = Bench(index=Index())
    bench.ask(text)
    assert bench.judge.asked == [(Role.INPUT, "Hi")]
    assert "<human>: Hi\n" in chat_tokenizer("ordinary").decode(list(bench.engine.started[0].prompt))
    assert [turn.user for turn in bench.stored()] == ["Hi"]


def test_a_question_of_which_nothing_is_visible_is_refused() -> None:
    error = Bench().refusal("\ue000\U000e0041")
    assert (error.code, error.field) == (ErrorCode.INVALID_FIELD, "inputs")


def test_a_padded_question_is_asked_as_it_is() -> None:
    bench = Bench()
    bench.ask("\n" * 61_475 + "What is albedo?" + " " * 61_475)
    assert "<human>: What is albedo?" in chat_tokenizer("ordinary").decode(list(bench.engine.started[0].prompt))


def test_a_search_is_told_the_conversation_whoever_keeps_it() -> None:
    bench = Bench(index=Index())
    bench.ask("What is albedo?")
    bench.ask("BAD question")
    bench.ask("Who named it?")
    assert [each.text for each in bench.index.asked] == ["What is albedo?", "BAD question", "Who named it?"]
    assert bench.index.asked[0].earlier == ()
    told = Exchange("What is albedo?", ("Albedo",), reply=bench.stored()[0].reply)
    assert bench.index.asked[-1].earlier == (told,), "what was refused is not told"
    bench.ask("Who named it?", history=brought(("What is albedo?", "A fraction.")))
    assert bench.index.asked[-1].earlier == (Exchange("What is albedo?", reply="A fraction."),)


def test_a_reply_may_be_cut_to_the_room_that_is_left_without_pushing_the_conversation_out() -> None:
    bench, history = Bench(), brought(("What is albedo?", "A fraction."))
    bench.ask("And ice?", history=history, sampling=wire.Sampling(max_new_tokens=100_000), clamp=True)
    bench.ask("And ice?", history=history, sampling=wire.Sampling(max_new_tokens=8), clamp=True)
    large, small = bench.engine.started
    assert len(large.prompt) + large.sampling.max_new_tokens == 512
    assert (small.prompt, small.sampling.max_new_tokens) == (large.prompt, 8)
    bench.ask("And ice?", history=history, sampling=wire.Sampling(100_000, min_tokens=90_000), clamp=True)
    assert bench.engine.started[-1].sampling.min_tokens == bench.engine.started[-1].sampling.max_new_tokens
    refused = bench.refusal("And ice?", history=history, sampling=wire.Sampling(max_new_tokens=100_000))
    assert refused.code is ErrorCode.PROMPT_TOO_LONG


def test_a_reply_that_must_not_end_is_written_on_behind_the_ends_of_its_format() -> None:
    bench = Bench()
    bench.ask("Tell me", sampling=wire.Sampling(stop=("mine",)))
    bench.ask("Tell me", sampling=wire.Sampling(stop=("mine",), ignore_eos=True))
    ends, none = (each.sampling.stop for each in bench.engine.started)
    assert ends == ("\n<human>", "<human>", "mine")
    assert none == ("mine",)


def test_a_reply_goes_on_behind_the_words_it_begins_with_and_is_judged_with_them() -> None:
    bench = Bench(Engine(" a time."))
    asked = request("Tell me", history=(), begun="Once upon")
    assert bench.turns.answer(asked).outputs == " a time."
    assert "".join(each.text for each in bench.turns.stream(asked) if isinstance(each, TextPiece)) == " a time."
    bench.ask("Tell me", history=())
    begun, _, bare = (each.prompt for each in bench.engine.started)
    assert begun[: len(bare)] == bare
    assert len(begun) > len(bare)
    bench.judge.word = "upon a time"
    assert bench.turns.answer(asked).finish_reason == "moderated_output"


def test_a_text_as_written_is_the_whole_prompt_and_is_judged() -> None:
    bench = Bench()
    bench.ask("Once upon a time", history=(), as_written=True, retrieval=False)
    [asked] = bench.engine.started
    assert asked.sampling.stop == ()
    assert len(asked.prompt) < 16
    assert bench.ask("A BAD thing", history=(), as_written=True).finish_reason == "moderated_input"


def test_log_probabilities_go_with_the_answer_but_never_with_a_withheld_one() -> None:
    tokens = (wire.TokenLogprobs(wire.Alternative(1, b"It", -0.1)),)

    class Telling(Engine):
        def start(self, request: wire.Generate, deliver: Callable[[wire.FromEngine], None]) -> None:
            deliver(wire.Piece(request.request_id, self.text, 1, tokens))
            deliver(wire.Finished(request.request_id, "stop", 1, 0, 1))

    assert Bench(Telling("It")).ask(history=()).logprobs == tokens
    assert Bench(Telling("BAD")).ask(history=()).logprobs == ()


def test_a_search_is_asked_what_the_request_wishes() -> None:
    bench = Bench(index=Index(), search=SearchSettings(k=3))
    only = PassageFilter(documents=("d",))
    bench.ask(search=SearchWish(k=7, required=True, only=only))
    bench.ask()
    asked = [(each.k, each.required, each.only) for each in bench.index.asked]
    assert asked == [(7, True, only), (3, False, None)]


def broken_index() -> list[Passage]:
    raise RetrievalError("the index is gone")


@pytest.mark.parametrize("found", [list, broken_index])
def test_a_turn_that_requires_passages_has_no_answer_without(found: Callable[[], list[Passage]]) -> None:
    bench = Bench(index=Index(found))
    error = bench.refusal(search=SearchWish(required=True))
    assert (error.code, error.field) == (ErrorCode.RETRIEVAL_UNAVAILABLE, "parameters.retrieval")
    assert bench.engine.started == []
    assert bench.stored() == []
    assert bench.ask().outputs == "It is so."


def cited(**fields: Any) -> tuple[Bench, list[object]]:
    bench = Bench(engine=Engine("Albedo is a fraction. It is so."), index=Index())
    return bench, list(bench.turns.stream(request("What is albedo?", **fields)))


def test_a_stream_has_its_sources_before_its_first_text_and_the_record_says_what_rests_on_them() -> None:
    bench, events = cited()
    assert isinstance(events[0], FoundSources)
    assert [source.title for source in events[0].sources] == ["Albedo"]
    assert [type(event) for event in events[1:]].count(FoundSources) == 0
    result = events[-1]
    assert isinstance(result, TurnResult)
    assert result.outputs == "Albedo is a fraction. It is so."
    assert result.citations == bench.stored()[0].citations == (Citation(0, 21, 1),)


def test_marks_are_shown_to_who_asks_for_them_and_never_stored() -> None:
    bench, events = cited(cite=True)
    texts = "".join(event.text for event in events if isinstance(event, TextPiece))
    result = events[-1]
    assert isinstance(result, TurnResult)
    assert texts == result.outputs == "Albedo is a fraction. [1] It is so."
    assert bench.stored()[0].reply == "Albedo is a fraction. It is so."
    assert bench.ask("What is albedo?", cite=True).outputs == "Albedo is a fraction. [1] It is so."
