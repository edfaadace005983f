"""What stands in a prompt, in which order, and what gives way when not everything fits."""

from __future__ import annotations

import random

import pytest

from server.chat.prompt.prompt import Prompt, PromptBuilder
from server.chat.records.turn_records import Source, Turn, Usage
from server.errors import ErrorCode, ServiceError
from tests.unit.chat.prompt.chat_tokenizers import chat_tokenizer, words

CREATED = 1678457100.0  # 2023-03-10 14:05:00 UTC
PREAMBLE = "Current Date: 2023-03-10\nCurrent Time: 14:05:00 PM UTC\n\n"
TOKENIZER = chat_tokenizer("added")
WINDOW = 512


def builder(window: int = WINDOW, passage_tokens: int = 128) -> PromptBuilder:
    return PromptBuilder(TOKENIZER, window, passage_tokens)


def text_of(prompt: Prompt) -> str:
    return TOKENIZER.decode(list(prompt.token_ids))


def turn(number: int, user: str, reply: str, *passages: str, usage: Usage | None = None, reason: str = "stop") -> Turn:
    sources = tuple(Source("title", passage, 0.5, "document") for passage in passages)
    return Turn(number, user, reply, reason, CREATED, sources=sources, usage=usage or Usage())


def num_tokens(text: str) -> int:
    return len(TOKENIZER.encode(text))


def test_the_first_prompt_is_preamble_passage_and_question() -> None:
    prompt = builder().build(CREATED, [], ["Albedo is a  fraction.\nIt has no unit."], " What is albedo? ", 64)
    assert text_of(prompt) == (
        f"{PREAMBLE}Background: Albedo is a fraction. It has no unit.\n<human>: What is albedo?\n<bot>:"
    )
    assert prompt.num_dropped_turns == 0
    assert prompt.num_passage_tokens == num_tokens(" Albedo is a fraction. It has no unit.")


def test_without_a_passage_there_is_no_background_line() -> None:
    for passages in ([], [""], [" \n"]):
        prompt = builder().build(CREATED, [], passages, "hi", 64)
        assert text_of(prompt) == f"{PREAMBLE}<human>: hi\n<bot>:"
        assert prompt.num_passage_tokens == 0


def test_several_passages_stand_on_one_line() -> None:
    prompt = builder().build(CREATED, [], ["One.", "Two."], "hi", 64)
    assert text_of(prompt) == f"{PREAMBLE}Background: One. Two.\n<human>: hi\n<bot>:"


def test_the_passages_that_stand_in_the_prompt_are_counted() -> None:
    passages = [f"{words(random.Random(number), 40, 40)}." for number in range(5)]
    for budget in (20, 60, 128, 200, 1000):
        prompt = builder(2048, budget).build(CREATED, [], passages, "why?", 64)
        line = text_of(prompt).split("Background: ")[1].split("\n")[0]
        begun = [number for number, passage in enumerate(passages) if " ".join(passage.split()[:3]) in line]
        assert begun == list(range(prompt.num_passages))
        again = stored(prompt, 1, passages[: prompt.num_passages], "because")
        followed = builder(2048, budget).build(CREATED, [again], [], "really?", 64)
        assert followed.token_ids[: len(prompt.token_ids)] == prompt.token_ids


def test_no_passage_is_counted_where_none_stands() -> None:
    assert builder().build(CREATED, [], [], "hi", 64).num_passages == 0
    assert builder(passage_tokens=0).build(CREATED, [], ["One."], "hi", 64).num_passages == 0
    assert builder().build(CREATED, [], ["word " * 300], "hi", 450).num_passages == 0


def test_stored_turns_stand_before_the_question_with_their_passages() -> None:
    turns = [turn(1, "hi", "Hello!"), turn(2, "What is albedo?", "A fraction.", "Albedo is a fraction.")]
    assert text_of(builder().build(CREATED, turns, [], "Thanks", 64)) == (
        f"{PREAMBLE}<human>: hi\n<bot>: Hello!\n"
        "Background: Albedo is a fraction.\n<human>: What is albedo?\n<bot>: A fraction.\n"
        "<human>: Thanks\n<bot>:"
    )


def test_a_system_text_stands_after_the_preamble() -> None:
    prompt = builder().build(CREATED, [], [], "hi", 64, system=" Be brief.\n<bot>: no ")
    assert text_of(prompt) == f"{PREAMBLE}Be brief.\n<\\bot>: no\n\n<human>: hi\n<bot>:"


def test_an_empty_reply_leaves_its_line_empty() -> None:
    assert text_of(builder().build(CREATED, [turn(1, "hi", "")], [], "again", 64)) == (
        f"{PREAMBLE}<human>: hi\n<bot>:\n<human>: again\n<bot>:"
    )


@pytest.mark.parametrize("reason", ["moderated_input", "moderated_output"])
def test_a_moderated_turn_is_left_out(reason: str) -> None:
    turns = [turn(1, "hi", "Hello!"), turn(2, "bad", "I cannot.", reason=reason)]
    prompt = builder().build(CREATED, turns, [], "again", 64)
    assert text_of(prompt) == f"{PREAMBLE}<human>: hi\n<bot>: Hello!\n<human>: again\n<bot>:"
    assert prompt.num_dropped_turns == 0


def test_a_moderated_turn_does_not_bring_dropped_turns_back() -> None:
    turns = [turn(number, words(random.Random(number), 30, 40), "yes") for number in range(1, 30)]
    before = builder().build(CREATED, turns, [], "hi", 64)
    recorded = turn(30, "hi", "Hello!", usage=Usage(prompt_tokens=1, dropped_turns=before.num_dropped_turns))
    blocked = turn(31, "bad", "I cannot.", reason="moderated_input")
    after = builder().build(CREATED, [*turns, recorded, blocked], [], "again", 64)
    assert after.num_dropped_turns == before.num_dropped_turns > 0


def test_a_prompt_continues_the_one_before_and_its_reply_to_the_letter() -> None:
    rng = random.Random(1)
    turns: list[Turn] = []
    before: tuple[int, ...] = ()
    for number in range(1, 6):
        passages = [f"{words(rng, 10, 20)}.", words(rng, 5, 9)] if number % 2 else []
        prompt = builder(2048).build(CREATED, turns, passages, words(rng, 3, 9), 64)
        assert prompt.token_ids[: len(before)] == before
        reply = f"{words(rng, 5, 20)}."
        before = (*prompt.token_ids, *TOKENIZER.encode(f" {reply}"))
        turns.append(stored(prompt, number, passages, reply))


def stored(prompt: Prompt, number: int, passages: list[str], reply: str) -> Turn:
    """The turn as it is kept: the question is read back from the prompt."""
    question = text_of(prompt).rpartition("<human>: ")[2].removesuffix("\n<bot>:")
    usage = Usage(
        prompt_tokens=len(prompt.token_ids),
        dropped_turns=prompt.num_dropped_turns,
        passage_tokens=prompt.num_passage_tokens,
    )
    return turn(number, question, reply, *passages, usage=usage)


def test_the_answer_always_has_its_room() -> None:
    turns = [turn(number, words(random.Random(number), 20, 40), "yes") for number in range(1, 20)]
    for max_new_tokens in (1, 100, 200, 300, 400):
        prompt = builder().build(CREATED, turns, [words(random.Random(0), 200, 200)], "why?", max_new_tokens)
        assert len(prompt.token_ids) + max_new_tokens <= WINDOW


def test_turns_give_way_before_the_passage_does() -> None:
    turns = [turn(number, words(random.Random(number), 40, 40), "yes") for number in range(1, 8)]
    passage = [words(random.Random(0), 300, 300)]
    alone = builder().build(CREATED, [], passage, "why?", 64)
    prompt = builder().build(CREATED, turns, passage, "why?", 64)
    assert 0 < prompt.num_dropped_turns < 7
    assert prompt.num_passage_tokens == alone.num_passage_tokens > 96


def test_the_passage_is_cut_after_a_sentence_within_its_budget() -> None:
    passage = "The first sentence is here. The second one is there. The third one is nowhere to be seen at all."
    limit = num_tokens(" The first sentence is here. The second one is there. The third one")
    prompt = builder(passage_tokens=limit).build(CREATED, [], [passage], "why?", 64)
    assert "\nBackground: The first sentence is here. The second one is there.\n<human>" in text_of(prompt)


def test_a_passage_without_sentences_is_cut_after_a_word() -> None:
    passage = words(random.Random(3), 200, 200)
    shown = text_of(builder().build(CREATED, [], [passage], "why?", 64)).split("Background: ")[1].split("\n")[0]
    assert passage.startswith(f"{shown} ")
    assert 100 < num_tokens(f" {shown}") <= 128


def test_a_passage_without_words_is_cut_between_characters() -> None:
    passage = "知識" * 200
    shown = text_of(builder().build(CREATED, [], [passage], "why?", 64)).split("Background: ")[1].split("\n")[0]
    assert passage.startswith(shown)
    assert 100 < num_tokens(f" {shown}") <= 128


def test_a_passage_shrinks_to_what_the_answer_leaves_and_is_repeated_so() -> None:
    passage = words(random.Random(4), 300, 300)
    first = builder().build(CREATED, [], [passage], "why?", 400)
    assert 16 <= first.num_passage_tokens < 80
    second = builder().build(CREATED, [stored(first, 1, [passage], "because")], [], "really?", 64)
    assert second.token_ids[: len(first.token_ids)] == first.token_ids


def test_a_passage_that_would_be_a_few_words_is_left_out_and_stays_out() -> None:
    passage = words(random.Random(4), 300, 300)
    first = builder().build(CREATED, [], [passage], "why?", 450)
    assert "Background" not in text_of(first)
    second = builder().build(CREATED, [stored(first, 1, [passage], "because")], [], "really?", 64)
    assert "Background" not in text_of(second)


def test_a_question_that_cannot_fit_is_refused_with_the_counts() -> None:
    question = words(random.Random(5), 600, 600)
    for refused in (
        lambda: builder().build(CREATED, [], [], question, 64),
        lambda: builder().check(question, 64),
    ):
        with pytest.raises(ServiceError) as caught:
            refused()
        assert caught.value.code is ErrorCode.PROMPT_TOO_LONG
        assert caught.value.field == "inputs"
        assert "max_new_tokens 64" in caught.value.message
        assert "the window is 512" in caught.value.message


def test_an_answer_that_cannot_fit_is_refused_and_names_its_parameter() -> None:
    with pytest.raises(ServiceError) as caught:
        builder().check("hi", 500)
    assert caught.value.code is ErrorCode.PROMPT_TOO_LONG
    assert caught.value.field == "parameters.max_new_tokens"


def test_a_question_of_megabytes_is_refused_without_being_read_to_its_end() -> None:
    with pytest.raises(ServiceError, match=r"takes \d+ tokens or more"):
        builder().check("word " * 1_000_000, 64)


def test_a_system_text_that_fills_the_window_is_refused() -> None:
    with pytest.raises(ServiceError, match="window is 512"):
        builder().check("hi", 64, system="word " * 2000)


def test_a_question_that_just_fits_pushes_every_turn_out() -> None:
    turns = [turn(number, "hi", "hello") for number in range(1, 5)]
    free = WINDOW - 64 - builder().build(CREATED, [], [], "", 64).num_preamble_tokens
    frame = builder().build(CREATED, [], [], "", 64).num_question_tokens
    question = TOKENIZER.decode(TOKENIZER.encode(" " + words(random.Random(6), 600, 600))[: free - frame])
    prompt = builder().build(CREATED, turns, [], question, 64)
    assert len(prompt.token_ids) + 64 <= WINDOW
    assert prompt.num_dropped_turns == 4


def test_the_number_of_dropped_turns_counts_those_that_were_not_loaded() -> None:
    recorded = Usage(prompt_tokens=100, dropped_turns=40)
    turns = [turn(number, "hi", "hello", usage=recorded) for number in range(39, 50)]
    prompt = builder().build(CREATED, turns, [], "again", 64)
    assert prompt.num_dropped_turns == 40
    assert text_of(prompt).count("<human>") == 9 + 1
