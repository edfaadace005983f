"""A turn is cancelled, asked again, otherwise or twice, and the conversation is what its reader expects."""

from __future__ import annotations

import threading
import time
from typing import Any

import msgspec
import pytest

from server.chat.records.turn_records import KeepAlive, TextPiece, Turn, TurnResult
from server.chat.store.rows import Row, RowState
from server.errors import ErrorCode, ServiceError
from tests.unit.chat.prompt.chat_tokenizers import chat_tokenizer
from tests.unit.chat.turn_bench import Bench, request
from tests.unit.chat.turn_doubles import Engine

SESSION = "mine"


def ask(bench: Bench, text: str, **fields: Any) -> TurnResult:
    return bench.ask(text, session_id=SESSION, **fields)


def texts(bench: Bench) -> list[str]:
    return [turn.user for turn in bench.store.history(SESSION)]


def prompt_text(bench: Bench) -> str:
    """The newest prompt."""
    return chat_tokenizer("ordinary").decode(list(bench.engine.started[-1].prompt))


def test_a_turn_asked_again_takes_the_place_of_the_first_and_of_all_behind_it() -> None:
    bench = Bench()
    for text in ("one", "two", "three"):
        ask(bench, text)
    again = ask(bench, "two, otherwise", replaces=2)
    assert (again.turn, texts(bench)) == (4, ["one", "two, otherwise"])
    assert ask(bench, "and then?").turn == 5
    assert texts(bench) == ["one", "two, otherwise", "and then?"]
    assert ask(bench, "from the start", replaces=1).turn == 6
    assert texts(bench) == ["from the start"]


def test_the_model_reads_nothing_of_what_was_replaced() -> None:
    bench = Bench()
    for text in ("first question", "second question"):
        ask(bench, text)
    ask(bench, "other question", replaces=2)
    prompt = prompt_text(bench)
    assert "first question" in prompt
    assert "second question" not in prompt


def test_a_turn_that_is_not_there_cannot_be_replaced() -> None:
    bench = Bench()
    ask(bench, "one")
    with pytest.raises(ServiceError, match=r"replace_turn=7: the conversation has no such turn; legal are 1") as error:
        ask(bench, "two", replaces=7)
    assert error.value.field == "parameters.replace_turn"
    assert texts(bench) == ["one"]


def test_a_conversation_branches_behind_any_of_its_turns() -> None:
    bench = Bench()
    for text in ("my name is Ada", "my cat is Tom"):
        ask(bench, text)
    branch = ask(bench, "and my dog?", behind=1)
    assert (branch.turn, texts(bench)) == (3, ["my name is Ada", "and my dog?"])
    assert "Tom" not in prompt_text(bench)
    back = ask(bench, "and my cat?", behind=2)
    assert (back.turn, texts(bench)) == (4, ["my name is Ada", "my cat is Tom", "and my cat?"])
    assert "dog" not in prompt_text(bench)
    assert ask(bench, "go on", behind=4).turn == 5
    assert texts(bench)[-2:] == ["and my cat?", "go on"]


def test_a_turn_is_the_one_that_its_client_was_told_or_none() -> None:
    bench = Bench()
    ask(bench, "one")
    with pytest.raises(ServiceError, match="turn 3: another request has taken it") as busy:
        ask(bench, "two", behind=1, number=3)
    assert busy.value.code is ErrorCode.SESSION_BUSY
    with pytest.raises(ServiceError, match="has no turn 9") as gone:
        ask(bench, "two", behind=9)
    assert gone.value.code is ErrorCode.SESSION_NOT_FOUND
    assert ask(bench, "two", behind=1, number=2).turn == 2


def test_a_retry_with_the_same_key_is_no_second_turn() -> None:
    bench = Bench()
    first, again = (ask(bench, "one", key="k") for _ in range(2))
    assert (again.outputs, again.turn) == (first.outputs, first.turn)
    assert (texts(bench), len(bench.engine.started)) == (["one"], 1)
    ask(bench, "one", key="other")
    assert texts(bench) == ["one", "one"]
    with pytest.raises(ServiceError, match="it was used for another question"):
        ask(bench, "two", key="k")


def test_a_retry_beside_the_first_waits_for_its_answer() -> None:
    bench = Bench(session_wait_s=5.0)
    claim = bench.store.claim(bench.store.create(SESSION), "me")
    answers: list[TurnResult] = []
    retry = threading.Thread(target=lambda: answers.append(ask(bench, "one", key="k")))
    retry.start()
    time.sleep(0.2)
    bench.store.complete(claim, Turn(1, "one", "It is so.", "stop", 0.0, key="k"))
    retry.join(10)
    assert [answer.outputs for answer in answers] == ["It is so."]
    assert bench.engine.started == []


def test_a_cancelled_turn_frees_its_session_at_once_and_stores_nothing() -> None:
    bench = Bench(engine=Engine(silent=True), session_wait_s=0.0)
    events = bench.turns.stream(request("one", session_id=SESSION))
    ended: list[ServiceError] = []

    def read() -> None:
        try:
            list(events)
        except ServiceError as error:
            ended.append(error)

    reader = threading.Thread(target=read)
    reader.start()
    while not bench.engine.started:
        time.sleep(0.01)
    assert bench.turns.cancel(session_id="another") == 0
    assert bench.turns.cancel(session_id=SESSION) == 1
    bench.engine.silent = False
    assert ask(bench, "two").turn == 1, "the session is free before the cancelled turn has noticed"
    reader.join(10)
    assert [error.code for error in ended] == [ErrorCode.CANCELLED]
    assert texts(bench) == ["two"]
    assert bench.turns.cancel(session_id=SESSION) == 0


def test_a_turn_is_cancelled_by_the_id_of_its_request() -> None:
    bench = Bench(engine=Engine(silent=True))
    events = bench.turns.stream(msgspec.structs.replace(request("one", session_id=SESSION), request_id="r-1.0.ab"))
    first = next(events)
    assert isinstance(first, KeepAlive | TextPiece)
    assert bench.turns.cancel(request_id="r-2") == 0
    assert bench.turns.cancel(request_id="r-1") == 1
    with pytest.raises(ServiceError, match="cancelled"):
        list(events)


def test_a_plain_request_ends_when_its_client_has_left() -> None:
    bench = Bench(engine=Engine(silent=True))
    with pytest.raises(ServiceError, match="cancelled"):
        bench.turns.answer(request("one", session_id=SESSION), has_left=lambda: True)
    assert bench.store.load(SESSION, 10) is None


def test_a_session_carries_its_instructions_behind_the_deployment_s() -> None:
    bench = Bench(system_prompt="Be kind.")
    ask(bench, "one", system="Be brief.")
    ask(bench, "two")
    assert "Be kind.\n\nBe brief." in prompt_text(bench)
    ask(bench, "three", system="Be long.")
    assert "Be long." in prompt_text(bench)
    assert "Be brief." not in prompt_text(bench)


def test_a_record_that_cannot_be_read_costs_its_turn_alone_and_can_be_erased() -> None:
    bench = Bench()
    for text in ("one", "two"):
        ask(bench, text)
    bench.rows.put_if_free(Row(SESSION, 3, RowState.DONE, 0.0, record='{"turn": "x"}'), 0.0)
    assert ask(bench, "three").turn == 4
    assert texts(bench) == ["one", "two", "three"]
    assert bench.store.delete_turn(SESSION, 3)
    assert bench.store.delete(SESSION)
    assert texts(bench) == []
