"""The frequent words of English: whether letters are one, and where words end in letters without spaces."""

from __future__ import annotations

import math
from collections.abc import Iterable
from functools import cache
from importlib.util import find_spec
from pathlib import Path

_PACKAGE, _FILE = "symspellpy", "frequency_dictionary_en_82_765.txt"  # the package that carries words with their counts
_UNKNOWN_LETTER = 12.0  # the cost of a letter that is in no word; a frequent word costs about 5, a rare one 16
_LONGEST_WORD = 18
_LETTERS_AT_ONCE, _UNSURE_WORDS = 400, 2  # the last words of a piece may go on behind it: they begin the next
# How often each of "don't", "I'm" is counted: books hardly use them, people do; and what is a rarer word than these.
_CONTRACTED, _RARE = 100_000_000, 10_000_000


@cache
def _lines() -> list[tuple[str, int]]:
    """The package's words with their counts, those with an apostrophe among them."""
    spec = find_spec(_PACKAGE)
    assert spec is not None
    assert spec.origin is not None
    lines = Path(spec.origin).with_name(_FILE).read_text("utf-8-sig").splitlines()
    return [(word, int(count)) for word, count in map(str.split, lines) if word.isascii()]


@cache
def _contractions() -> dict[str, str]:
    """The letters of contractions that are no other word of some frequency, with how they are written: dont, don't."""
    plain = {word for word, count in _lines() if count > _RARE}
    written = {word.replace("'", ""): word for word, _ in _lines() if "'" in word}
    return {letters: word for letters, word in written.items() if letters not in plain}


@cache
def _counts() -> dict[str, int]:
    """Word to how often it is used, the most frequent first; read when it is first needed."""
    counts = {word: count for word, count in _lines() if word.isalpha()}
    counts |= dict.fromkeys(_contractions(), _CONTRACTED)
    return dict(sorted(counts.items(), key=lambda pair: -pair[1]))


@cache
def _ranks() -> dict[str, int]:
    """Word to its place among the frequent ones."""
    return {word: rank for rank, word in enumerate(_counts())}


@cache
def _costs() -> dict[str, float]:
    """Word to how surprising it is."""
    total = math.log(sum(_counts().values()))
    return {word: total - math.log(count) for word, count in _counts().items()}


def is_word(letters: str, most: int = 1 << 30) -> bool:
    """Whether `letters`, in lower case, are one of the `most` frequent words."""
    return _ranks().get(letters, most) < most


def rank(word: str) -> int:
    """The place of an English word among the frequent ones; raises KeyError for what is none."""
    return _ranks()[word]


def surprise(words: Iterable[str]) -> float:
    """How unlikely `words` are in a row, a letter: English comes to 1 to 3, what only happens to be words to more."""
    words = list(words)
    costs = _costs()
    return sum(costs.get(word, _UNKNOWN_LETTER * len(word)) for word in words) / max(1, sum(map(len, words)))


def most_frequent(candidates: Iterable[str]) -> str | None:
    """The one of `candidates` that is used most; None where none is a word."""
    return min(filter(is_word, candidates), key=rank, default=None)


def split_words(letters: str) -> str:
    """`letters`, in lower case and without spaces, as the likeliest words; in time linear in their number."""
    done: list[str] = []
    start = 0
    while len(letters) - start > _LETTERS_AT_ONCE:
        words = _split(letters[start : start + _LETTERS_AT_ONCE])[:-_UNSURE_WORDS]
        done += words
        start += sum(map(len, words))
    return " ".join([*done, *_split(letters[start:])])


def _split(letters: str) -> list[str]:
    costs, best, lengths = _costs(), [0.0], [0]
    for end in range(1, len(letters) + 1):
        cost, length = best[-1] + _UNKNOWN_LETTER, 1
        for size in range(1, min(_LONGEST_WORD, end) + 1):
            word = costs.get(letters[end - size : end])
            if word is not None and best[end - size] + word < cost:
                cost, length = best[end - size] + word, size
        best.append(cost)
        lengths.append(length)
    return _cut(letters, lengths)


def written_out(words: str) -> str:
    """`words` with the apostrophes of contractions: i dont, i don't."""
    return " ".join(_contractions().get(word, word) for word in words.split(" "))


def _cut(letters: str, lengths: list[int]) -> list[str]:
    """The words, given how long the last one is of every beginning of `letters`."""
    words, end = [], len(letters)
    while end > 0:
        words.append(letters[end - lengths[end] : end])
        end -= lengths[end]
    return words[::-1]
