"""Only judged text leaves, in order, while decoding goes on; every ending frees the engine."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from threading import Event

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from server import wire
from server.chat.moderation.judge_rules import judge_rule
from server.chat.moderation.judges import Judges
from server.chat.moderation.parts import ReplySpan
from server.chat.moderation.policy import Role
from server.chat.prompt.chat_format import OPENCHATKIT
from server.chat.records.turn_records import Judgement, KeepAlive, TextPiece
from server.chat.reply.clean import ReplyCleaner
from server.chat.reply.stream import ReplyOrder, ReplyStream
from server.chat.text.sentences import next_to_judge, split_sentences
from server.errors import ErrorCode, ServiceError

EXECUTOR = ThreadPoolExecutor(4)
CLEANER = ReplyCleaner(OPENCHATKIT)


class Script:
    """An engine that delivers given texts, then an ending."""

    def __init__(self, texts: list[str], ending: wire.FromEngine | None = None) -> None:
        self._texts = texts
        self._ending = ending
        self.cancelled: list[str] = []

    def start(self, request: wire.Generate, deliver: Callable[[wire.FromEngine], None]) -> None:
        for number, text in enumerate(self._texts, 1):
            deliver(wire.Piece(request.request_id, text, number))
        deliver(self._ending or wire.Finished(request.request_id, "stop", 3, 0, len(self._texts)))

    def cancel(self, request_id: str) -> None:
        self.cancelled.append(request_id)


class Judge:
    """Blocks any text with the word in it; remembers what it was asked."""

    def __init__(self, word: str = "BAD") -> None:
        self._word = word
        self.asked: list[str] = []

    def masked(self, text: str, role: Role) -> str:
        return text

    def masks(self, role: Role) -> bool:
        return False

    def worse(self, first: Judgement, second: Judgement) -> Judgement:
        return first if first.blocked else second

    def judge_reply(self, span: ReplySpan, deadline_s: float, *, caller: str = "") -> Judgement:
        self.asked.append(span.text)
        blocked = self._word in span.text
        return Judgement("needs intervention" if blocked else "casual", {}, {}, blocked, "No." if blocked else "")


def stream(
    engine: Script, request: wire.Generate, moderator: Judge | None, ending: Event, *, piecewise: bool
) -> ReplyStream:
    order = ReplyOrder(request, "Is it so?", piecewise, 30)
    return ReplyStream(engine, moderator, EXECUTOR, CLEANER, ending, order)  # type: ignore[arg-type]


def run(engine: Script, moderator: Judge | None, *, piecewise: bool = True) -> tuple[list[str], ReplyStream]:
    request = wire.Generate("r", (1, 2, 3), wire.Sampling())
    reply = stream(engine, request, moderator, Event(), piecewise=piecewise)
    return [each.text for each in reply.pieces() if isinstance(each, TextPiece)], reply


def cut(text: str, sizes: list[int]) -> Iterator[str]:
    while text:
        size = sizes.pop() if sizes else 5
        yield text[:size]
        text = text[size:]


NEUTRALISED = [
    "<\\bot>",
    "<\\\\human>",
    "\nBackground: ",
    "\n\\Background: ",
    "<\\|im_start|>",
    "C:\\new ",
    "&lt;\\bot&gt;",
]
SENTENCES = st.lists(
    st.sampled_from(["One two. ", "Yes! ", "a < b ", "<pad>", "No end ", "\n", "</s>", "w" * 90, *NEUTRALISED]),
    max_size=9,
)


@settings(deadline=None, max_examples=60)
@given(SENTENCES, st.lists(st.integers(1, 12), max_size=40), st.booleans(), st.booleans())
def test_pieces_joined_equal_the_cleaned_reply(
    parts: list[str], sizes: list[int], judged: bool, piecewise: bool
) -> None:
    text = "".join(parts)
    pieces, reply = run(Script(list(cut(text, sizes))), Judge() if judged else None, piecewise=piecewise)
    assert "".join(pieces) == reply.verdict.text == CLEANER.shown(text)
    assert reply.verdict.blocked is None


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 8), st.lists(st.integers(1, 12), max_size=60), st.booleans())
def test_not_a_character_of_a_blocked_sentence_leaves_wherever_it_stands(
    place: int, sizes: list[int], piecewise: bool
) -> None:
    sentences = [f"Sentence {number} is fine. " for number in range(9)]
    sentences[place] = "This one is BAD and must not leave. "
    pieces, reply = run(Script(list(cut("".join(sentences), sizes))), Judge(), piecewise=piecewise)
    left = "".join(pieces)
    assert reply.verdict.blocked is not None
    assert "".join(sentences[:place]).startswith(left)
    assert "This one" not in left


def test_every_character_that_leaves_was_judged_in_a_span_of_its_own() -> None:
    judge = Judge()
    text = "First sentence. Second sentence! Third without an end"
    pieces, _ = run(Script(list(cut(text, []))), judge)
    assert "".join(pieces) == "".join(judge.asked) == text
    assert judge.asked[0] == "First sentence."


def test_a_span_is_judged_with_what_stands_before_it_its_question_and_the_whole_at_the_end() -> None:
    spans: list[ReplySpan] = []

    class Noting(Judge):
        def judge_reply(self, span: ReplySpan, deadline_s: float, *, caller: str = "") -> Judgement:
            spans.append(span)
            return super().judge_reply(span, deadline_s)

    text = "".join(f"Sentence {number} is here. " for number in range(40))
    run(Script(list(cut(text, []))), Noting())
    assert all(span.question == "Is it so?" for span in spans)
    before = split_sentences("".join(span.text for span in spans[:-1]))
    assert spans[-1].before == tuple(before[-len(spans[-1].before) :])
    assert spans[-1].before
    assert spans[-1].whole == text.strip()
    assert sum(len(span.whole or "") for span in spans) < 4 * len(text)


@pytest.mark.parametrize("moderated", [True, False])
def test_a_stream_is_never_read_again_as_a_whole(moderated: bool) -> None:
    read = 0

    class Counting(ReplyCleaner):
        def shown(self, text: str) -> str:
            nonlocal read
            read += len(text)
            return super().shown(text)

    text = "".join(f"Sentence {number} is here,\nas are others. " for number in range(200))
    order = ReplyOrder(wire.Generate("r", (1,), wire.Sampling()), "Is it so?", True, 30)
    engine = Script(list(cut(text, [])))
    judge = Judge() if moderated else None
    reply = ReplyStream(engine, judge, EXECUTOR, Counting(OPENCHATKIT), Event(), order)  # type: ignore[arg-type]
    assert "".join(each.text for each in reply.pieces() if isinstance(each, TextPiece)) == text.strip()
    assert read < 12 * len(text)


def test_without_streaming_the_reply_is_judged_once() -> None:
    judge = Judge()
    run(Script(list(cut("First. Second. Third. ", []))), judge, piecewise=False)
    assert judge.asked == ["First. Second. Third."]


def test_an_empty_reply_is_judged_and_ends() -> None:
    pieces, reply = run(Script([]), Judge())
    assert pieces == []
    assert reply.verdict.text == ""


def test_a_block_cancels_decoding() -> None:
    engine = Script(["This is BAD. "] + ["and goes on. "] * 50)
    run(engine, Judge())
    assert engine.cancelled == ["r"]


@pytest.mark.parametrize("piecewise", [True, False])
def test_a_lost_group_fails_the_reply_and_nothing_unjudged_has_left(piecewise: bool) -> None:
    failed = wire.Failed("r", ErrorCode.ENGINE_UNAVAILABLE, "the group was lost", 5.0)
    engine = Script(["Some text"], failed)
    request = wire.Generate("r", (1,), wire.Sampling())
    reply = stream(engine, request, Judge(), Event(), piecewise=piecewise)
    with pytest.raises(ServiceError, match="the group was lost"):
        assert [each for each in reply.pieces() if isinstance(each, TextPiece)] == []
    assert engine.cancelled == ["r"]


def test_a_classification_that_fails_fails_the_reply() -> None:
    class Broken(Judge):
        def judge_reply(self, span: ReplySpan, deadline_s: float, *, caller: str = "") -> Judgement:
            raise ServiceError(ErrorCode.QUEUE_FULL, "full")

    with pytest.raises(ServiceError, match="full"):
        run(Script(["A sentence. ", "Another."]), Broken())


def test_a_piece_says_how_many_tokens_were_read_and_written_when_it_left() -> None:
    reply = stream(
        Script(["One. ", "Two. "]), wire.Generate("r", (1, 2, 3), wire.Sampling()), None, Event(), piecewise=True
    )
    found = [each for each in reply.pieces() if isinstance(each, TextPiece)]
    assert {each.prompt_tokens for each in found} == {3}
    assert found[-1].completion_tokens == reply.verdict.finished.num_new_tokens


def test_closing_the_stream_cancels_the_generation() -> None:
    class Silent(Script):
        def start(self, request: wire.Generate, deliver: Callable[[wire.FromEngine], None]) -> None:
            deliver(wire.Piece(request.request_id, "One sentence. Two", 1))

    engine = Silent([])
    request = wire.Generate("r", (1,), wire.Sampling())
    reply = stream(engine, request, None, Event(), piecewise=True)
    pieces = reply.pieces()
    assert next(pieces).text == "One sentence. Two"
    pieces.close()
    assert engine.cancelled == ["r"]


def test_a_wait_is_filled_with_keep_alives_and_ends_with_what_is_there_on_shutdown() -> None:
    class Silent(Script):
        def start(self, request: wire.Generate, deliver: Callable[[wire.FromEngine], None]) -> None:
            deliver(wire.Piece(request.request_id, "Half a sentence", 4))

    ending = Event()
    request = wire.Generate("r", (1,), wire.Sampling())
    reply = stream(Silent([]), request, Judge(), ending, piecewise=True)
    pieces = reply.pieces()
    assert isinstance(next(pieces), KeepAlive)
    ending.set()
    assert [each.text for each in pieces if isinstance(each, TextPiece)] == ["Half a sentence"]
    assert reply.verdict.finished.reason == "shutdown"
    assert reply.verdict.finished.num_new_tokens == 4


def test_a_long_sentence_is_judged_in_parts() -> None:
    assert next_to_judge("word " * 100, 0) == 500
    assert next_to_judge("short", 0) == 0
    assert next_to_judge("One. Two", 0) == 5
    assert next_to_judge("One. Two", 5) == 5


@pytest.mark.parametrize("filler", range(205, 275, 3))
@pytest.mark.parametrize("item", ["DE89 3704 0044 0532 0130 00", "+49 30 901 820 00", "4111 1111 1111 1111"])
def test_a_long_sentence_is_not_cut_within_what_is_masked(filler: int, item: str) -> None:
    rules = (judge_rule({"kind": "personal data", "action": "mask"}),)

    class Masking(Judge):
        judges = Judges(rules)

        def masked(self, text: str, role: Role) -> str:
            return self.judges.masked(text, role)

        def masks(self, role: Role) -> bool:
            return self.judges.masks(role)

        def uncut(self, text: str, end: int, role: Role) -> int:
            return self.judges.uncut(text, end, role)

    words = ("of this and that " * 20)[:filler].strip()
    said = f"{words} {item} {words} and {item} {words}"
    pieces, reply = run(Script([said[start : start + 4] for start in range(0, len(said), 4)]), Masking())
    assert "".join(pieces) == reply.verdict.text
    assert not re.search(r"\d", reply.verdict.text)
    assert reply.verdict.text.count("[") == 2
    assert len(pieces) > 1


def test_keep_alives_come_while_tokens_do_and_no_sentence_has_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("server.chat.reply.stream.KEEP_ALIVE_S", 0.05)
    seen = Event()

    class Talker(Script):
        """Writes one word, then tokens that show nothing, until the test has seen what it waits for."""

        def start(self, request: wire.Generate, deliver: Callable[[wire.FromEngine], None]) -> None:
            threading.Thread(target=self._talk, args=(request, deliver), daemon=True).start()

        def _talk(self, request: wire.Generate, deliver: Callable[[wire.FromEngine], None]) -> None:
            deliver(wire.Piece(request.request_id, "Word", 1))
            while not seen.wait(0.002):
                deliver(wire.Piece(request.request_id, "", 2))
            deliver(wire.Finished(request.request_id, "stop", 3, 0, 2))

    request = wire.Generate("r", (1, 2, 3), wire.Sampling())
    reply = stream(Talker([]), request, Judge(), Event(), piecewise=True)
    pieces = reply.pieces()
    assert isinstance(next(pieces), KeepAlive)
    seen.set()
    assert [each.text for each in pieces if isinstance(each, TextPiece)] == ["Word"]
