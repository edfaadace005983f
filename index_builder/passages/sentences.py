"""Sentence boundaries."""

from __future__ import annotations

import re

import sentencex

# Abbreviations that the segmenter takes for a sentence's end although a number or a name goes on.
_GOES_ON = re.compile(
    r"(?:^|[\s(])(?:approx|ca|c|deg|vol|vols|fig|figs|eq|pp|no|nos|op|ch|sec|art|ed|eds|cf|viz|fl|r|lit|est|max|min|"
    r"Gov|Sen|Rep|Lt|Sgt|Maj|Cpt|Capt|Cmdr|Adm|Brig|Gen|Col|Hon|Rev|Msgr|Pres|Prof|Fr|Bros|Mt|Ft|Ste?)\.$",
    re.IGNORECASE,
)
_CONTINUES = re.compile(r"^[\d(a-zà-ÿ]")
_TITLE_BEFORE_NAME = re.compile(
    r"\b(?:Gov|Sen|Rep|Lt|Sgt|Maj|Cpt|Capt|Cmdr|Adm|Brig|Gen|Col|Hon|Rev|Prof|Fr|Mt|Ft|Ste?)\.$"
)
_WORD = re.compile(r"\w")


def split_sentences(text: str, language: str = "en") -> list[str]:
    """The sentences of one paragraph, in order, stripped, none empty; line breaks end a sentence.

    Joined by a space they give the paragraph back, but for its white space.
    """
    sentences: list[str] = []
    for line in text.splitlines():
        start = len(sentences)
        for piece in sentencex.segment(language, line):
            sentence = piece.strip()
            if not sentence:
                continue
            if len(sentences) > start and _belongs_to(sentences[-1], sentence):
                sentences[-1] += " " + sentence
            else:
                sentences.append(sentence)
    return sentences


def _belongs_to(previous: str, sentence: str) -> bool:
    if not _WORD.search(sentence):  # a stray quote or bracket
        return True
    if _GOES_ON.search(previous):
        return bool(_CONTINUES.match(sentence) or _TITLE_BEFORE_NAME.search(previous))
    return False
