"""A question of a conversation may be written out by the chat model before it is searched for."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator

import pytest

from server import wire
from server.chat.turn_search import SearchSettings
from server.retrieval.query import Query
from tests.unit.chat.prompt.chat_tokenizers import chat_tokenizer
from tests.unit.chat.turn_bench import WAIT_S, Bench
from tests.unit.chat.turn_doubles import Engine, Index

QUESTION = "Is the albedo of snow high?"


class Writer(Engine):
    """Answers questions as ever, and writes `written` where it is to write a question out, once it `may`."""

    def __init__(self) -> None:
        super().__init__()
        self.written, self.ends = f"{QUESTION}\nQ: more", "stop"
        self.may = threading.Event()
        self.may.set()
        self.told: list[str] = []
        self.cancelled: list[str] = []

    def start(self, request: wire.Generate, deliver: Callable[[wire.FromEngine], None]) -> None:
        if not request.request_id.startswith("rewrite-"):
            super().start(request, deliver)
            return
        self.told.append(chat_tokenizer("ordinary").decode(list(request.prompt)))
        threading.Thread(target=self._write, args=(request, deliver), daemon=True).start()

    def _write(self, request: wire.Generate, deliver: Callable[[wire.FromEngine], None]) -> None:
        assert self.may.wait(WAIT_S)
        deliver(wire.Piece(request.request_id, self.written, 5))
        deliver(wire.Finished(request.request_id, self.ends, len(request.prompt), 0, 5))

    def cancel(self, request_id: str) -> None:
        self.cancelled.append(request_id)


@pytest.fixture
def engine() -> Iterator[Writer]:
    engine = Writer()
    yield engine
    engine.may.set()


def bench_of(engine: Writer, rewrite_s: float) -> Bench:
    return Bench(engine, Index(), search=SearchSettings(rewrite_s=rewrite_s))


def searches(bench: Bench) -> list[Query]:
    assert bench.index is not None
    return bench.index.asked


def test_a_follow_up_is_searched_for_as_the_model_wrote_it_out(engine: Writer) -> None:
    bench = bench_of(engine, rewrite_s=WAIT_S)
    bench.ask("What is albedo?")
    bench.ask("And of snow?")
    assert [(query.text, query.standalone) for query in searches(bench)] == [
        ("What is albedo?", None),
        ("And of snow?", QUESTION),
    ]
    [told] = engine.told
    assert "What is albedo?" in told
    assert "It is so." in told
    assert told.index("And of snow?") > told.index("It is so.")
    assert [turn.user for turn in bench.stored()] == ["What is albedo?", "And of snow?"]


def test_without_it_nothing_is_asked_of_the_model(engine: Writer) -> None:
    bench = bench_of(engine, rewrite_s=0)
    bench.ask("What is albedo?")
    bench.ask("And of snow?")
    assert not engine.told
    assert [query.standalone for query in searches(bench)] == [None, None]


def test_a_question_that_is_late_is_searched_for_by_its_conversation_and_the_model_is_stopped(engine: Writer) -> None:
    bench = bench_of(engine, rewrite_s=0.2)
    bench.ask("What is albedo?")
    engine.may.clear()
    result = bench.ask("And of snow?")
    assert [source.title for source in result.sources] == ["Albedo"]
    assert searches(bench)[-1].standalone is None
    assert [request_id for request_id in engine.cancelled if request_id.startswith("rewrite-")]


@pytest.mark.parametrize(
    ("written", "ends"),
    [
        ("Is BAD snow white?", "stop"),  # the judge blocks it
        ("", "stop"),
        ("\n\n", "stop"),
        ("snow and " * 60, "length"),
        (QUESTION, "shutdown"),
    ],
)
def test_what_is_blocked_or_no_question_is_left_out(engine: Writer, written: str, ends: str) -> None:
    bench = bench_of(engine, rewrite_s=WAIT_S)
    bench.ask("What is albedo?")
    engine.written, engine.ends = written, ends
    bench.ask("And of snow?")
    assert searches(bench)[-1].standalone is None


def test_a_conversation_without_a_turn_that_was_answered_has_nothing_to_write_out_from(engine: Writer) -> None:
    bench = bench_of(engine, rewrite_s=WAIT_S)
    assert bench.ask("BAD things?").finish_reason == "moderated_input"
    bench.ask("And of snow?")
    assert not engine.told
