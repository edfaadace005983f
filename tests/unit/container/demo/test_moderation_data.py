"""Texts and batches of the moderation recipe."""

from __future__ import annotations

import random
import re
import tomllib
from pathlib import Path

import pytest
from tokenizers import Tokenizer

import container.demo.data.moderation_data as moderation_data
from container.demo.data.articles import Article
from container.demo.data.moderation_data import Labelled, OrdinaryTexts, Phrases, TextSampler
from container.demo.data.moderation_sentences import KINDS, Sentences
from container.demo.data.moderation_tokenizer import with_words
from container.demo.data.smalltalk import Intent, SmallTalk, read_abroad
from container.demo.data.tokenizer import train_tokenizer
from container.demo.data.word_vectors import minilm_embeddings
from container.demo.train.moderation_batches import ModerationBatches, PromptEncoder
from server.chat.moderation.policy_file import load_policy

RAW = tomllib.loads(Path(moderation_data.__file__).with_name("moderation_phrases.toml").read_text("utf-8"))
WORDS, GROUPS = RAW["words"], {name: group for name, group in RAW.items() if name != "words"}


class Fixed:
    """Draws one of three texts."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng

    def text(self) -> Labelled:
        drawn = self._rng.choice((("Good morning", "casual"), ("You are dumb", "needs caution"), ("Hi", "casual")))
        return Labelled(*drawn, "fixed")


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return train_tokenizer([load_policy().prefix(), "Good morning", "You are dumb"], 400)


def batches(tokenizer: Tokenizer, seed: int) -> ModerationBatches:
    policy = load_policy()
    return ModerationBatches(Fixed, PromptEncoder(tokenizer, policy), policy, seed, texts=5)


def test_every_slot_of_a_template_has_words() -> None:
    slots = {
        slot for group in GROUPS.values() for part in group.values() for t in part for slot in re.findall(r"{(\w+)}", t)
    }
    assert slots <= set(WORDS)


def test_held_out_templates_and_sentences_are_never_trained_on() -> None:
    for group in GROUPS.values():
        assert not set(group["seen"]) & set(group["held_out"])
    sentences, rng = Sentences(), random.Random(1)
    for kind in KINDS:
        seen = {sentences.draw(kind, str, rng) for _ in range(4000)}
        held_out = {sentences.draw(kind, str, rng, held_out=True) for _ in range(400)}
        assert not seen & held_out
    assert not set(read_abroad()) & set(read_abroad(held_out=True))


def test_a_sentence_s_alternatives_are_drawn_and_its_slots_filled() -> None:
    sentences, phrases, rng = Sentences(), Phrases(), random.Random(2)
    for kind in KINDS:
        drawn = [sentences.draw(kind, lambda text: phrases.fill(text, rng), rng) for _ in range(500)]
        assert not any(mark in text for text in drawn for mark in ("{", "|", "  ", " ."))
        assert len(set(drawn)) > 400


def test_every_kind_of_text_is_drawn_with_its_label() -> None:
    articles = [Article("Bridges", (("The old bridge was built by the town.", "It is open to walkers every day."),))]
    talk = SmallTalk([Intent("hello", "Hello!", ("hi", "hello"), ())], {}, [])
    ordinary = OrdinaryTexts(articles, talk, teacher_limit=2.0)
    sampler = TextSampler(Phrases(), Sentences(), ordinary, ["Guten Morgen, wie geht es?"], random.Random(3))
    drawn = [sampler.text() for _ in range(600)]
    groups = {text.group for text in drawn}
    assert {"intervention", "casual", "several", "among", "elsewhere", "sentence", "talk"} <= groups
    assert all(text.label == "needs intervention" for text in drawn if text.group in ("intervention", "among"))
    assert all(text.label == "casual" for text in drawn if text.group in ("several", "elsewhere", "sentence"))


def test_phrases_are_filled_and_labelled_by_their_group() -> None:
    labels, phrases = set(load_policy().labels), Phrases()
    for group in GROUPS:
        drawn = [phrases.draw(group, random.Random(seed)) for seed in range(50)]
        assert {text.label for text in drawn} < labels
        assert len({text.label for text in drawn}) == 1
        assert not any("{" in text.text or "  " in text.text for text in drawn)


def test_a_row_asks_as_the_server_does_and_learns_the_label_alone(tokenizer: Tokenizer) -> None:
    batch = batches(tokenizer, 1).batch(0)
    assert batch.prefix is not None
    prefix = tokenizer.decode(batch.prefix[0].tolist())
    assert prefix.startswith("Possible labels:\n1. casual\n")
    assert prefix.endswith("\n\n")
    for inputs, targets, weights in zip(batch.inputs, batch.targets, batch.weights, strict=True):
        assert re.match(r"Input: (Good morning|You are dumb|Hi)\nOutput: ", tokenizer.decode(inputs.tolist()))
        assert tokenizer.decode(targets[weights > 0].tolist()) in (" casual\n", " needs caution\n")


def test_a_batch_depends_on_seed_and_step_alone(tokenizer: Tokenizer) -> None:
    first, second = batches(tokenizer, 3), batches(tokenizer, 3)
    for step in range(5):
        first.batch(step)
    resumed, reached = second.batch(5), first.batch(5)
    assert resumed.inputs.equal(reached.inputs)
    assert resumed.prefix is not None
    assert reached.prefix is not None
    assert resumed.prefix.equal(reached.prefix)


def test_chosen_words_become_one_token_and_text_survives(tokenizer: Tokenizer) -> None:
    wider = with_words(tokenizer, ["strangle", "strand", "marmalade"], 500)
    for word in ("strangle", "strand", "marmalade"):
        assert len(wider.encode(f" {word}").ids) == 1
    text = "Good strangest strands of marmalades, 12 stränge"
    assert wider.decode(wider.encode(text).ids) == text


def test_a_word_that_minilm_cuts_in_pieces_stands_nearer_to_its_like(tokenizer: Tokenizer) -> None:
    words = ["injure", "hurt", "assist", "greet", "teach"]
    wider = with_words(tokenizer, words, 500)
    vectors = minilm_embeddings(wider, 64, individual=0.0, levelling=0.0, seed=1, read_alone=True)
    vectors = vectors / vectors.norm(dim=1, keepdim=True)
    injure, *others = (vectors[wider.encode(f" {word}").ids[0]] for word in words)
    nearness = [float(injure @ other) for other in others]
    assert nearness[0] > 1.5 * max(nearness[1:])
