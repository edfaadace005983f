"""Where sentences end: of a growing reply for certain, and of a text that is judged in parts."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

_CLOSERS = "\"'\u2019\u201d)\\]»」』）】"
_EAST_ASIAN = "\u3002\uff01\uff1f\uff61"  # marks that need no white space behind them
_MARKS = f".!?\u2026\u061f\u06d4\u0964\u0965{_EAST_ASIAN}"
# The places where a sentence may end, with all that follows as far as it tells, so that no place is looked at twice: a
# mark, what closes a quotation, and white space; or a line end and white space.
_PLACE = re.compile(rf"(?P<mark>[{_MARKS}]++)(?P<closer>[{_CLOSERS}]*+)(?P<space>\s*+)|\n\s*+")
_ITEM = re.compile(r"(?:[-*+\u2022\u2023\u25aa\u2013]|\(?(?:\d{1,3}|[A-Za-z])[.)])[^\S\n]")
# The same for a text that is whole and may be written to mislead: what follows does not matter, and every line counts.
_PART_END = re.compile(rf"(?P<mark>[;{_MARKS}\uff1b]++)[{_CLOSERS}]*+(?P<space>\s*+)|\n+")
_BARE_END = re.compile(rf"[{_EAST_ASIAN}]++(?=[^{_CLOSERS}\s])")
_BARE_PART_END = re.compile(rf"[{_EAST_ASIAN}\uff1b]+")
MOST_WORDS, _WINDOW_WORDS, _STRIDE_WORDS = 60, 32, 24
# What a full stop abbreviates more often than it ends a sentence with.
_ABBREVIATION = re.compile(
    r"approx|apt|ave|bros|capt|cf|ch|col|corp|dept|ed|eds|eq|esp|est|etc|figs?|gen|gov|incl?|ltd?|messrs|m[rst]|mrs|nos?"
    r"|pp?|prof|ref|rep|rev|sec|sen|sgt|st|tel|univ|viz|vols?|vs|[djs]r|ca|nr|al|jan|feb|mar|apr|aug|sept?|oct|nov|dec",
    re.IGNORECASE,
)
_LAST_WORD = re.compile(r"[^\s(\[{\"'\u2018\u201c\u00ab/]*$")
_INITIAL = re.compile(r"[A-Z]|(?:[^\W\d_]{1,2}\.)+[^\W\d_]{1,2}")  # J, e.g, Ph.D, U.S
_LONGEST_WORD = 24  # characters; what is longer is no abbreviation


def next_to_judge(written: str, num_judged: int, longest_hold: int = 240, tail: int = 0) -> int:
    """How many characters of `written` to judge next; `num_judged` when there is nothing new worth it.

    Sentences are judged whole; one that runs longer than `longest_hold` characters is cut at a space, with at least
    `tail` characters left over.
    """
    end = max(sentence_ends(written, num_judged), default=num_judged)
    if end == num_judged and len(written) - num_judged >= longest_hold + tail:
        last = len(written) - tail
        end = written.rfind(" ", num_judged, last) + 1 or last
    return end


def split_sentences(text: str) -> list[str]:
    """The sentences of a text that may be written to mislead: also where one begins with a small letter, and lines."""
    pieces, start = [], 0
    for end in _part_ends(text):
        pieces.append(text[start:end])
        start = end
    pieces.append(text[start:])
    return [sentence for sentence in (" ".join(piece.split()) for piece in pieces) if sentence]


def windows(sentence: str) -> list[str]:
    """A sentence of many words in windows that overlap, so that no threat is lost in a long one; any other itself."""
    words = sentence.split(" ")
    if len(words) <= MOST_WORDS:
        return [sentence]
    starts = [*range(0, len(words) - _WINDOW_WORDS, _STRIDE_WORDS), len(words) - _WINDOW_WORDS]
    return [" ".join(words[start : start + _WINDOW_WORDS]) for start in starts]


def packs(sentences: Sequence[str]) -> list[str]:
    """Sentences together, as many as have no more words than a long one; each pack begins with the last one's last
    sentence, so that every two neighbours of a usual length stand in one.
    """
    packed: list[str] = []
    pack: list[str] = []
    for sentence in sentences:
        if pack and sum(each.count(" ") + 1 for each in (*pack, sentence)) > MOST_WORDS:
            packed += windows(" ".join(pack))
            pack = pack[-1:] if pack[-1].count(" ") + sentence.count(" ") + 2 <= MOST_WORDS else []
        pack.append(sentence)
    return packed + (windows(" ".join(pack)) if pack else [])


def sentence_ends(written: str, start: int) -> Iterator[int]:
    """Where sentences end for certain; one whose next character is not there yet is not among them."""
    for match in _PLACE.finditer(written, start):
        is_open = match.end() == len(written)
        if match["mark"] is not None and (is_open or not match["space"]):
            yield from _bare_ends(written, *match.span("mark"))
        elif not is_open and _ends_here(written, match):
            yield match.end()


def _bare_ends(written: str, start: int, end: int) -> Iterator[int]:
    """Where East Asian marks end sentences within a run of marks: they need no white space, but what follows tells."""
    for match in _BARE_END.finditer(written, start, min(end + 1, len(written))):
        yield match.end()


def _ends_here(written: str, match: re.Match[str]) -> bool:
    return _ends_lines(written, match) if match["mark"] is None else _ends_sentence(written, match)


def _part_ends(text: str) -> Iterator[int]:
    for match in _PART_END.finditer(text):
        if match["mark"] is None:
            yield match.end()
        elif not match["space"]:
            yield from (run.end() for run in _BARE_PART_END.finditer(text, *match.span("mark")))
        elif not _is_within_sentence(text, match):
            yield match.end()


def _ends_lines(written: str, match: re.Match[str]) -> bool:
    """Whether a line end is a sentence's: one before a blank line, or before an item of a list."""
    return written.count("\n", *match.span()) > 1 or _ITEM.match(written, match.end()) is not None


def _is_within_sentence(text: str, match: re.Match[str]) -> bool:
    """Whether a full stop only abbreviates a word or numbers an item."""
    if match["mark"] != ".":
        return False
    word = _LAST_WORD.search(text, max(0, match.start() - _LONGEST_WORD), match.start())
    assert word is not None
    return _is_abbreviation(word[0]) or _is_item_number(text, word)


def _ends_sentence(written: str, match: re.Match[str]) -> bool:
    """Whether a sentence ends at a mark with white space behind it; in doubt not, for that only delays it."""
    return not written[match.end()].islower() and not _is_within_sentence(written, match)


def _is_abbreviation(word: str) -> bool:
    return _ABBREVIATION.fullmatch(word) is not None or _INITIAL.fullmatch(word) is not None


def _is_item_number(written: str, word: re.Match[str]) -> bool:
    """Whether the word is the number before an item of a list."""
    return word[0].isdigit() and not written[: word.start()].rpartition("\n")[2].strip()
