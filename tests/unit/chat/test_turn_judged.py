"""What is judged in a turn, what follows from it, and what a client learns of it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from server import wire
from server.chat.moderation.judge_rules import judge_rule
from server.chat.moderation.judges import Judges
from server.chat.moderation.policy import Role
from server.chat.moderation.remembered import HistoryText, HistoryVerdicts
from server.chat.prompt.prompt import PromptBuilder
from server.chat.records.turn_records import (
    Judgement,
    TextPiece,
)
from server.errors import ServiceError
from tests.unit.chat.prompt.chat_tokenizers import chat_tokenizer
from tests.unit.chat.turn_bench import Bench, brought, request
from tests.unit.chat.turn_doubles import Engine, Index, Judge


@pytest.mark.parametrize(
    ("blocked", "left"), [(("Hello", "Hi there"), ("How are you?", "BAD of me")), (("BAD one", "No."), ("Why?", "So."))]
)
def test_a_blocked_exchange_that_a_client_brings_is_left_out_and_named_and_blocks_nothing(
    blocked: tuple[str, str], left: tuple[str, str]
) -> None:
    bench = Bench()
    result = bench.ask(history=brought(blocked, left), system="Be kind")
    assert (result.outputs, result.finish_reason) == ("It is so.", "stop")
    prompt = chat_tokenizer("ordinary").decode(list(bench.engine.started[0].prompt))
    kept, gone = (blocked, left) if "BAD" in left[1] else (left, blocked)
    assert all(text in prompt for text in (*kept, "Be kind", "Is it so?"))
    assert not any(text in prompt for text in gone)
    number = 1 + (blocked, left).index(gone)
    assert result.warnings == (
        f"the policy blocks exchange {number} of the conversation; it was left out of the prompt",
    )
    assert (Role.SYSTEM, "Be kind") in bench.judge.asked


@pytest.mark.parametrize("fields", [{"system": "BAD rules"}, {"system": "BAD rules", "history": ()}])
def test_instructions_that_the_policy_blocks_end_the_turn(fields: dict[str, Any]) -> None:
    bench = Bench()
    result = bench.ask(**fields)
    assert (result.outputs, result.finish_reason) == ("No.", "moderated_input")
    assert result.moderation["system"].blocked
    assert not result.moderation["input"].blocked
    assert bench.engine.started == []


def test_a_question_that_asks_for_care_is_answered_with_a_preface_and_told_to_the_model() -> None:
    class Careful(Judge):
        rule = dataclasses.replace(
            Judge.policy.rule(Role.INPUT), caution=("casual",), preface="Mind this.", instructions="Name the risks."
        )
        policy = dataclasses.replace(Judge.policy, rules={**Judge.policy.rules, Role.INPUT: rule})

        def judge(
            self, texts: Sequence[str], role: Role, deadline_s: float | None = None, *, caller: str = ""
        ) -> list[Judgement]:
            return [
                msgspec.structs.replace(each, caution="advice" in text)
                for each, text in zip(super().judge(texts, role), texts, strict=True)
            ]

    bench = Bench()
    bench.use(Careful())
    assert bench.ask("Any advice?").outputs == "Mind this.\n\nIt is so."
    assert "Name the risks." in chat_tokenizer("ordinary").decode(list(bench.engine.started[0].prompt))
    pieces = [each.text for each in bench.turns.stream(request("Some advice?")) if isinstance(each, TextPiece)]
    assert "".join(pieces) == "Mind this.\n\nIt is so."
    assert bench.ask("Why?").outputs == "It is so."


def test_what_the_policy_masks_is_masked_wherever_the_text_goes() -> None:
    class Masking(Judge):
        policy = dataclasses.replace(Judge.policy, judges=(judge_rule({"kind": "personal data", "action": "mask"}),))

        def masked(self, text: str, role: Role) -> str:
            return Judges(self.policy.judges).masked(text, role)

    bench = Bench(Engine("Write to jim@example.com. Or not."))
    judge = Masking()
    bench.use(judge)
    assert bench.ask("Is joe@example.com mine?").outputs == "Write to [email]. Or not."
    prompt = chat_tokenizer("ordinary").decode(list(bench.engine.started[0].prompt))
    assert "Is [email] mine?" in prompt
    assert judge.asked == [(Role.INPUT, "Is [email] mine?")]
    assert [(turn.user, turn.reply) for turn in bench.stored()] == [("Is [email] mine?", "Write to [email]. Or not.")]


@given(st.text(max_size=80))
@settings(deadline=None, max_examples=60)
def test_what_is_judged_is_what_is_prompted_and_stored(text: str) -> None:
    bench = Bench()
    try:
        bench.ask(text)
    except ServiceError as error:
        assert error.field == "inputs"  # noqa: PT017 - a text of which nothing is visible, or too long
        return
    [(_, judged)] = bench.judge.asked
    built = PromptBuilder(chat_tokenizer("ordinary"), 512, 64).build(0.0, (), (), judged, 16)
    [started] = bench.engine.started
    assert started.prompt[-built.num_question_tokens :] == built.token_ids[-built.num_question_tokens :]
    assert bench.stored()[0].user == judged


def test_a_client_does_not_learn_that_somebody_else_asked_the_same() -> None:
    class Cached(Engine):
        def start(self, request: wire.Generate, deliver: Callable[[wire.FromEngine], None]) -> None:
            self.started.append(request)
            deliver(wire.Piece("r", "Yes.", 1))
            deliver(wire.Finished("r", "stop", len(request.prompt), len(request.prompt) - 1, 1))

    bench = Bench(Cached())
    first, second = bench.ask(), bench.ask()
    assert first.usage.cached_tokens == 0
    assert 0 < second.usage.cached_tokens < second.usage.prompt_tokens - 4


def test_a_question_is_judged_before_it_leaves_the_house() -> None:
    index = Index()
    bench = Bench(index=index, judge_before_search=True)
    assert bench.ask("A BAD question").finish_reason == "moderated_input"
    assert not index.begun.is_set()
    assert bench.ask().sources
    assert index.begun.is_set()


def test_a_conversation_that_comes_again_is_not_judged_again() -> None:
    bench = Bench()
    bench.ask("Hello", history=())
    bench.ask("Why?", history=brought(("Hello", "It is so.")))
    assert bench.judge.asked == [(Role.INPUT, "Hello"), (Role.INPUT, "Why?"), (Role.OUTPUT, "It is so.")]
    bench.judge.asked.clear()
    bench.ask("Why?", history=brought(("Hello", "It is so.")))
    assert bench.judge.asked == []


@pytest.mark.parametrize("passages", [False, True])
def test_every_brought_turn_of_the_prompt_was_judged_and_few_others(passages: bool) -> None:
    bench = Bench(index=Index() if passages else None)
    turns = brought(*((f"question {number} ", f"reply {number} {'word ' * (number % 17)}") for number in range(400)))
    assert bench.ask(history=turns).finish_reason == "stop"
    judged = {text for _, text in bench.judge.asked}
    prompt = chat_tokenizer("ordinary").decode(list(bench.engine.started[0].prompt))
    said = [text.strip() for turn in turns for text in (turn.user, turn.reply)]
    in_prompt = {text for text in said if f"{text}\n" in prompt}
    assert 4 < len(in_prompt) <= len(judged) < 100
    assert in_prompt <= judged


def test_a_brought_turn_that_was_forgotten_at_once_still_counts() -> None:
    verdicts = HistoryVerdicts(Judge(), max_remembered=1)  # type: ignore[arg-type]
    texts = [HistoryText(Role.OUTPUT, text) for text in ("BAD", "fine", "so so", "BAD", "BADLY")]
    for _ in range(2):
        assert [each.blocked for each in verdicts.judge(texts, 5.0)] == [True, False, False, True, True]


def test_the_same_text_has_a_verdict_in_each_role() -> None:
    judge = Judge()
    verdicts = HistoryVerdicts(judge)  # type: ignore[arg-type]
    verdicts.judge([HistoryText(Role.OUTPUT, "Hello"), HistoryText(Role.INPUT, "Hello")], 5.0)
    assert judge.asked == [(Role.INPUT, "Hello"), (Role.OUTPUT, "Hello")]
