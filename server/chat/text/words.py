"""The frequent words of English: whether letters are one, and where words end in letters without spaces."""

from __future__ import annotations

import json
import math
from functools import cache
from pathlib import Path

_UNKNOWN_LETTER = 12.0  # the cost of a letter that is in no word; a frequent word costs about 5, a rare one 16
_LONGEST_WORD = 18


@cache
def _ranks() -> dict[str, int]:
    """Word to its place among the frequent ones; read when it is first needed."""
    words: str = json.loads(Path(__file__).with_name("words.json").read_text("utf-8"))
    return {word: rank for rank, word in enumerate(words.split())}


@cache
def _costs() -> dict[str, float]:
    """Word to how surprising it is, by Zipf's law."""
    return {word: math.log((rank + 1) * math.log(len(_ranks()))) for word, rank in _ranks().items()}


def is_word(letters: str, most: int = 1 << 30) -> bool:
    """Whether `letters`, in lower case, are one of the `most` frequent words."""
    return _ranks().get(letters, most) < most


def split_words(letters: str) -> str:
    """`letters`, in lower case and without spaces, as the likeliest words; in time linear in their number."""
    costs, best, lengths = _costs(), [0.0], [0]
    for end in range(1, len(letters) + 1):
        cost, length = best[-1] + _UNKNOWN_LETTER, 1
        for size in range(1, min(_LONGEST_WORD, end) + 1):
            word = costs.get(letters[end - size : end])
            if word is not None and best[end - size] + word < cost:
                cost, length = best[end - size] + word, size
        best.append(cost)
        lengths.append(length)
    return " ".join(_cut(letters, lengths))


def _cut(letters: str, lengths: list[int]) -> list[str]:
    """The words, given how long the last one is of every beginning of `letters`."""
    words, end = [], len(letters)
    while end > 0:
        words.append(letters[end - lengths[end] : end])
        end -= lengths[end]
    return words[::-1]
