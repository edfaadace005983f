"""The books of a soak: what they take for right, and what for wrong."""

from __future__ import annotations

import json

import pytest

from deploy.measure.soak.books import Books, Conversation, Kept
from deploy.measure.soak.call import CUT, ENDLESS, TORN, Answer, read_answer
from deploy.measure.soak.faults import Mended
from deploy.measure.soak.vitals import grown, lost_blocks

END = {"outputs": "so", "finish_reason": "stop", "turn": 1}
ERROR = {"error": {"code": "engine_unavailable"}}


def answer(content_type: str, *lines: object) -> Answer:
    raw = [each if isinstance(each, bytes) else json.dumps(each).encode() for each in lines]
    return read_answer(200, content_type, iter(raw))


@pytest.mark.parametrize("end", [END, ERROR])
def test_a_stream_that_ends_once_is_whole(end: dict[str, object]) -> None:
    found = answer("application/jsonlines", {"outputs": ["s"]}, end)
    assert (found.fault, found.is_success) == ("", end is END)


@pytest.mark.parametrize("lines", [[], [{"outputs": ["s"]}], [END, {"outputs": ["s"]}], [END, END], [b'{"outputs']])
def test_a_stream_without_one_end_at_its_end_is_torn(lines: list[object]) -> None:
    assert answer("application/jsonlines", *lines).fault == TORN


def test_events_are_whole_when_they_say_that_they_are_done() -> None:
    event = b'data: {"choices": []}'
    assert answer("text/event-stream", event, b"", b"data: [DONE]").is_success
    assert answer("text/event-stream", event, b"").fault == TORN


@pytest.mark.parametrize(
    ("stored", "wrong"),
    [
        (["a", "b"], None),
        (["a", "maybe", "b"], None),
        (["b"], "'a' was answered and is not stored"),
        (["a", "b", "b"], "'b' is stored 2 times"),
        (["b", "a"], "in the order"),
        (["a", "b", "c"], "'c' is stored and was never asked"),
    ],
)
def test_what_was_answered_is_stored_once_in_order_and_what_was_not_may_be(
    stored: list[str], wrong: str | None
) -> None:
    conversation = Conversation("s", [Kept("a", True), Kept("maybe"), Kept("b", True)])
    found = conversation.faults(stored)
    assert found == [] if wrong is None else wrong in found[0]


@pytest.mark.parametrize(
    ("end", "during_fault", "is_wrong"),
    [
        (Answer(200), False, False),
        (Answer(503, code="engine_unavailable"), False, False),
        (Answer(500, code="internal"), True, True),
        (Answer(0, CUT), True, False),
        (Answer(0, CUT), False, True),
        (Answer(0, ENDLESS), True, True),
        (Answer(200, TORN), True, True),
    ],
)
def test_a_fault_excuses_a_cut_connection_and_nothing_else(end: Answer, during_fault: bool, is_wrong: bool) -> None:
    books = Books(lambda: during_fault)
    books.entered("turn", lambda: end)
    assert bool(books.balance(lambda _: None)) == is_wrong
    assert (books.num_begun, books.num_ended) == (1, 1)


def test_a_fault_is_mended_in_time_within_the_start_of_what_was_lost_and_3_s() -> None:
    assert Mended("kill", 12.9, 10.0).is_in_time
    assert not Mended("kill", 13.1, 10.0).is_in_time
    assert Mended("stop", 23.1, 10.0, noticed_s=10.0 + 2.5).is_in_time
    assert not Mended("kill", None, 10.0).is_in_time


def test_chat_holds_no_block_when_idle_and_a_judge_those_of_its_examples() -> None:
    assert lost_blocks({"chat": 0, "judge": 37}, {"chat": 0, "judge": 37}) == []
    assert len(lost_blocks({"chat": 1, "judge": 37}, {"chat": 1, "judge": 38})) == 2


def test_memory_grows_by_two_per_cent_at_most_and_threads_by_four_too() -> None:
    assert grown({"bytes": 100.0, "rank.0 threads": 10.0}, {"bytes": 102.0, "rank.0 threads": 14.0}) == []
    assert grown({"bytes": 100.0, "rank.0 threads": 10.0}, {"bytes": 103.0, "rank.0 threads": 15.0}) == [
        "bytes: 3.0%",
        "rank.0 threads: 50.0%",
    ]
    assert grown({"bytes": 100.0}, {"bytes": 50.0}) == []
