"""Texts as stemmed words: what lexical ranking compares."""

from __future__ import annotations

import re
import zlib

import Stemmer

FIRST_TERM = 16  # smaller numbers are marks
_WORD = re.compile(r"\w+")
# Words that say nothing about what is asked.
_FUNCTION_WORD_LIST = """
    a about an and any are as at be been but by can could did do does for from had has have he her hers him his how i
    if in into is it its just me might more most must my no nor not of on or our ours she should so some such than that
    the their theirs them then there these they this those to too was we were what when where which who whom whose why
    will with would you your yours
"""
_FUNCTION_WORDS = frozenset(_FUNCTION_WORD_LIST.split())
_ALGORITHMS = {
    "ar": "arabic", "ca": "catalan", "da": "danish", "de": "german", "el": "greek", "en": "english", "es": "spanish",
    "eu": "basque", "fi": "finnish", "fr": "french", "ga": "irish", "hi": "hindi", "hu": "hungarian", "hy": "armenian",
    "id": "indonesian", "it": "italian", "lt": "lithuanian", "ne": "nepali", "nl": "dutch", "no": "norwegian",
    "pt": "portuguese", "ro": "romanian", "ru": "russian", "sr": "serbian", "sv": "swedish", "ta": "tamil",
    "tr": "turkish", "yi": "yiddish",
}  # fmt: skip


class TermReader:
    """Splits texts of one language into term numbers. Not thread-safe: the stemmer keeps a cache.

    Args:
        language: two letters; words of a language without a stemmer are compared as they stand.
    """

    def __init__(self, language: str) -> None:
        algorithm = _ALGORITHMS.get(language)
        self._stemmer = Stemmer.Stemmer(algorithm) if algorithm else None

    def terms(self, text: str) -> list[int]:
        """Every word but function words, in order, as 32-bit numbers of their stems, from FIRST_TERM on."""
        words = [word for word in _WORD.findall(text.lower()) if word not in _FUNCTION_WORDS]
        stems = self._stemmer.stemWords(words) if self._stemmer is not None else words
        return [max(FIRST_TERM, zlib.crc32(stem.encode())) for stem in stems]
