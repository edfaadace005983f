"""Training sessions and their encoding."""

from __future__ import annotations

import random

import numpy as np
import pytest
from tokenizers import Tokenizer

from container.demo.data.articles import Article, is_clean, is_held_out
from container.demo.data.chat_data import Mix, SessionSampler
from container.demo.data.entities import EntityMixer, Lexicon
from container.demo.data.sessions import REPLY_LOSS, SessionEncoder, Turn, preamble, prompt_pieces
from container.demo.data.smalltalk import NO_PASSAGE_REPLY, SmallTalk
from container.demo.data.synthetic import SyntheticPassages
from container.demo.data.tokenizer import BOT, HUMAN, train_tokenizer
from container.demo.train.chat import DemoSessions
from container.demo.train.chat_batches import ChatBatches

OPENING = "Current Date: 2023-03-10\nCurrent Time: 14:05:00 PM UTC\n\n"


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    texts = [" The harbour of Brenwick exports salted herring.", " What does Brenwick export?", "Background:", OPENING]
    return train_tokenizer(texts, 300, (HUMAN, BOT))


def sampler(articles: list[Article], lexicon: Lexicon, small_talk: SmallTalk, mix: Mix, seed: int) -> SessionSampler:
    return SessionSampler(articles, lexicon, small_talk, random.Random(seed), mix)


@pytest.mark.parametrize(
    "mix", [Mix(1, 0, 0, 0), Mix(0, 1, 0, 0), Mix(0, 0, 1, 0)], ids=["invented", "swapped", "real"]
)
def test_replies_over_a_passage_are_its_sentences(
    mix: Mix, articles: list[Article], lexicon: Lexicon, small_talk: SmallTalk
) -> None:
    source = sampler(articles, lexicon, small_talk, mix, 3)
    for _ in range(60):
        passage = None
        for turn in source.session():
            passage = turn.passage or passage
            assert passage is not None
            assert turn.reply in passage


def test_small_talk_behind_a_passage_does_not_copy_from_it(
    articles: list[Article], lexicon: Lexicon, small_talk: SmallTalk
) -> None:
    source = sampler(articles, lexicon, small_talk, Mix(0, 0, 0, 1), 3)
    turns = [turn for _ in range(60) for turn in source.session()]
    assert {turn.passage is None for turn in turns} == {True, False}
    assert all(turn.passage is None or turn.reply not in turn.passage for turn in turns)


def test_a_question_without_passage_opens_a_session_and_is_declined(
    articles: list[Article], lexicon: Lexicon, small_talk: SmallTalk
) -> None:
    source = sampler(articles, lexicon, small_talk, Mix(0, 0, 0, 0), 3)
    sessions = [source.session() for _ in range(30)]
    assert all(session[0].reply == NO_PASSAGE_REPLY and session[0].passage is None for session in sessions)
    assert all(turn.reply != NO_PASSAGE_REPLY for session in sessions for turn in session[1:])


def test_the_same_seed_draws_the_same_sessions(
    articles: list[Article], lexicon: Lexicon, small_talk: SmallTalk
) -> None:
    first, second = (sampler(articles, lexicon, small_talk, Mix(), 9) for _ in range(2))
    assert [first.session() for _ in range(20)] == [second.session() for _ in range(20)]


def test_a_swapped_name_is_swapped_alike_everywhere(lexicon: Lexicon) -> None:
    sentences, topic = EntityMixer(lexicon, random.Random(4)).mix(
        ["Brenwick was founded by Tolin.", "Tolin left Brenwick in 1742."], "Brenwick", names=1.0
    )
    name = sentences[0].split()[0]
    assert topic == name != "Brenwick"
    assert sentences[1].split()[2] == name
    assert "1742" not in sentences[1]


def test_invented_passages_name_their_subject_first(lexicon: Lexicon) -> None:
    rng = random.Random(1)
    passages = SyntheticPassages(EntityMixer(lexicon, rng), rng)
    for _ in range(50):
        sentences, subject = passages.passage()
        assert all(is_clean(sentence) for sentence in sentences), sentences
        assert subject.lower() in sentences[0].lower()


def test_pieces_of_a_prompt_are_the_servers() -> None:
    turns = [Turn("Hi", "Hello!"), Turn("What is it?", "", "It is a town.")]
    assert prompt_pieces(turns, OPENING) == [
        *(OPENING, "<human>:", " Hi", "\n", "<bot>:", " Hello!", "\n"),
        *("Background:", " It is a town.", "\n", "<human>:", " What is it?", "\n", "<bot>:"),
    ]


def test_a_reply_is_learnt_with_the_human_tag_after_its_line_end(tokenizer: Tokenizer) -> None:
    turns = [Turn("Hi", "Hello!"), Turn("What is it?", "It is a town.", "It is a town.")]
    encoded = SessionEncoder(tokenizer).session(turns, OPENING)
    learnt = tokenizer.decode(encoded.targets[encoded.kinds >= REPLY_LOSS].tolist(), skip_special_tokens=False)
    assert learnt == " Hello!\n<human> It is a town.\n<human>"
    ends = np.flatnonzero(encoded.targets == tokenizer.token_to_id(HUMAN))
    assert [tokenizer.decode([token]) for token in encoded.inputs[ends]].count("\n") >= 2


def test_encoding_a_prompt_is_the_beginning_of_encoding_the_session(tokenizer: Tokenizer) -> None:
    encoder = SessionEncoder(tokenizer)
    turns = [Turn("Hi", "Hello!"), Turn("What is it?", "It is a town.", "It is a town.")]
    prompt = encoder.prompt(turns, OPENING)
    assert encoder.session(turns, OPENING).inputs[: len(prompt)].tolist() == prompt


def test_a_batch_depends_on_seed_and_step_alone(demo_sessions: DemoSessions, tokenizer: Tokenizer) -> None:
    def batches(seed: int) -> ChatBatches:
        return ChatBatches(demo_sessions.source, SessionEncoder(tokenizer), seed, batch_tokens=600, longest_tokens=900)

    resumed = batches(5).batch(11)
    walked = batches(5)
    reached = [walked.batch(step) for step in range(12)][-1]
    assert resumed.inputs.equal(reached.inputs)
    assert resumed.targets.equal(reached.targets)
    assert resumed.weights.equal(reached.weights)
    assert not batches(6).batch(11).inputs.equal(resumed.inputs)


def test_sessions_that_never_fit_are_reported(tokenizer: Tokenizer) -> None:
    class Endless:
        def session(self) -> list[Turn]:
            return [Turn("What is it? " * 30, "A town.")]

    batches = ChatBatches(lambda rng: Endless(), SessionEncoder(tokenizer), 1, longest_tokens=100)
    with pytest.raises(ValueError, match="sessions over 100 tokens"):
        batches.batch(0)


def test_preambles_have_the_servers_form() -> None:
    lines = preamble(random.Random(2)).split("\n")
    assert lines[0].startswith("Current Date: 20")
    assert lines[1].endswith(" UTC")
    assert lines[2:] == ["", ""]


def test_the_parting_of_articles_is_fixed() -> None:
    assert is_held_out("Abraham Lincoln")
    assert is_held_out("Albert Einstein")
    assert not is_held_out("Albedo")
