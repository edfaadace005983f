"""Small talk: this project's own phrasings, and short exchanges of the chatterbot corpus."""

from __future__ import annotations

import random
import re
import tomllib
from dataclasses import dataclass
from pathlib import Path

import chatterbot_corpus
import yaml

NO_PASSAGE_REPLY = "I have no passage about that, so I cannot say."
_PHRASES = Path(__file__).with_name("smalltalk.toml")
_CORPUS_TOPICS = ("ai", "computers", "conversations", "emotion", "food", "health", "literature", "movies", "sports")


@dataclass(frozen=True)
class Intent:
    """Phrasings that get one reply; `held_out` ones are for evaluation only."""

    name: str
    reply: str
    said: tuple[str, ...]
    held_out: tuple[str, ...]


class SmallTalk:
    """Draws small talk, reproducibly for a given random generator."""

    def __init__(self, intents: list[Intent], fillers: dict[str, list[str]], corpus: list[tuple[str, str]]) -> None:
        self.intents = intents
        self._fillers = fillers
        self._corpus = corpus

    def exchange(self, rng: random.Random) -> tuple[str, str]:
        """One phrase with its reply: mostly the project's own, written in the ways people type."""
        if self._corpus and rng.random() < 0.15:
            said, reply = rng.choice(self._corpus)
            return retyped(said, rng), reply
        intent = rng.choice(self.intents)
        return retyped(self.fill(rng.choice(intent.said), rng), rng), intent.reply

    def fill(self, phrase: str, rng: random.Random) -> str:
        """Put words in the place of {name} and {thing}."""
        return re.sub(r"\{(\w+)\}", lambda match: rng.choice(self._fillers[match[1]]), phrase)

    def texts(self) -> list[str]:
        """Every phrase and reply, for the tokenizer."""
        own = [text for intent in self.intents for text in (*intent.said, intent.reply)]
        corpus = [text for pair in self._corpus for text in pair]
        return own + corpus + [word for words in self._fillers.values() for word in words]


def load_small_talk(path: Path = _PHRASES) -> SmallTalk:
    """Read the phrase file and the installed corpus; a phrase of the file never also comes from the corpus."""
    raw = tomllib.loads(path.read_text("utf-8"))
    intents = [
        Intent(entry["name"], entry["reply"], tuple(entry["said"]), held_out=tuple(entry["held_out"]))
        for entry in raw["intent"]
    ]
    ours = {_plain(phrase) for intent in intents for phrase in intent.said + intent.held_out}
    corpus = [pair for pair in _corpus_pairs() if _plain(pair[0]) and _plain(pair[0]) not in ours]
    return SmallTalk(intents, raw["fill"], corpus)


def retyped(text: str, rng: random.Random) -> str:
    """The text as different people would type it: capitals and closing marks come and go."""
    draw = rng.random()
    text = text.lower() if draw < 0.25 else text[0].upper() + text[1:] if draw < 0.8 else text
    text = re.sub(r"\bi\b", "I", text) if rng.random() < 0.7 else text
    draw = rng.random()
    if draw < 0.35 or not text[-1].isalnum():
        return text
    asks = text.split()[0].lower() in ("what", "who", "how", "are", "do", "can", "when", "where", "is", "which", "will")
    return text + ("?" if asks else rng.choice((".", "!", ".")))


def _corpus_pairs() -> list[tuple[str, str]]:
    folder = Path(chatterbot_corpus.__file__).parent / "data" / "english"
    pairs: dict[str, tuple[str, str]] = {}
    for topic in _CORPUS_TOPICS:
        for conversation in yaml.safe_load((folder / f"{topic}.yml").read_text("utf-8"))["conversations"]:
            said, reply = (" ".join(str(line).split()) for line in conversation[:2])
            if 0 < len(said.split()) <= 16 and 0 < len(reply.split()) <= 24:
                pairs.setdefault(_plain(said), (said, reply))
    return list(pairs.values())


def read_abroad(held_out: bool = False) -> list[str]:
    """Harmless sentences of the installed corpus in its other languages; one in seven is held out."""
    texts: list[str] = []
    for path in sorted((Path(chatterbot_corpus.__file__).parent / "data").glob("*/*.yml")):
        if path.parent.name != "english" and path.stem not in ("trivia", "swear_words"):
            talks = yaml.safe_load(path.read_text("utf-8")).get("conversations") or []
            texts += [" ".join(str(line).split()) for talk in talks for line in talk if line]
    distinct = [text for text in dict.fromkeys(texts) if 3 < len(text) < 240]
    return [text for number, text in enumerate(distinct) if (number % 7 == 3) == held_out]


def _plain(text: str) -> str:
    return re.sub(r"[^a-z0-9 ]", "", text.lower()).strip()
