"""Words written apart or with digits and signs for letters, put back: `k i l l`, `k.i.l.l`, `k1ll`, `kiiill`."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice, product

from server.chat.text.words import is_word, most_frequent, split_words, surprise, written_out

_LETTER = r"(?:[^\W_]|[@$!|\u20ac](?=[\W_]{0,4}[^\W_]))"
_GAP = r"(?:[^\w@$!\u20ac]|_){1,4}?"
_SINGLES = re.compile(rf"(?<![^\W_])(?<![@$!|\u20ac]){_LETTER}(?:{_GAP}{_LETTER}){{2,}}(?![^\W_])")
_SINGLE = re.compile(rf"({_LETTER})([\W_]*)")
_SEPARATED = re.compile(r"(?<![a-z])[a-z]++(?:(?:[^\w\s'\u2019]{1,3}|_{1,3})[a-z]++)++")
_SHORT_PIECES = re.compile(r"(?<![^\W_])[a-z]{1,3}(?: [a-z]{1,3}){3,}(?![^\W_])")
_PIECE_SEPARATOR = re.compile(r"[\W_]+")
_LEET = {
    "0": "o", "1": "il", "2": "z", "3": "e", "4": "a", "5": "s", "6": "g", "7": "t", "8": "b", "9": "g",
    "@": "a", "$": "s", "!": "il", "|": "li", "\u20ac": "e", "+": "t", "(": "c", "#": "h", "*": "aeiou",
}  # fmt: skip
_SIGNS = re.escape("".join(sign for sign in _LEET if not sign.isdigit()))
_MIXED = re.compile(rf"[a-z0-9{_SIGNS}]++")
# What may be a word of digits and signs alone where others are spelt with them: `1`, `!s`, `70`, `'5`.
_BOLD = re.compile(
    r"(?<![\w.,:])(?:[0-9!@$|]{1,4}[a-z]{0,3}|[a-z]{1,2}[0-9!@$|]{1,3})(?![\w:]|[.,]\d)|(?<=[a-z]')[5$](?!\w)"
)
_UNDERSCORES, _MANY_UNDERSCORES = re.compile("_+"), 2
_MOST_SPELLINGS = 64
_LONGEST_MIXED = 24
_MOST_RUNS = 6
_LONG_RUN = re.compile(r"([a-z])\1{2,}")
_ALPHA = re.compile(r"[a-z]++")
_LONG = re.compile(r"(?<![a-z'\u2019])[a-z'\u2019]{8,}+")
_FREQUENT = 20_000
_SHORT = 3  # letters of a short word
# How surprising words without blanks may be, a letter (`surprise`); less where they may be one unknown word.
_MOST_SURPRISE, _MOST_SURPRISE_OF_SHORT, _LONGEST_UNKNOWN = 2.7, 2.5, 15
_FEWEST_WORDS = 3
_CLOSING = (",", ".", ";", ":", "!", "?")  # not the empty text
_ORDINAL = re.compile(r"\d+(?:st|nd|rd|th)")
_COMMON = 3000  # words that are so frequent that short pieces which are all of them are a plain text


def joined(text: str) -> str:
    """`text`, one line in plain letters, as one reads it who puts its words together; in lower case.

    Only what becomes an English word, or many single letters, is changed; a plain text stays as it is but for case.
    """
    text = _SINGLES.sub(lambda run: _from_singles(run[0]), text.lower())
    spelt = _MIXED.sub(lambda mixed: _from_mixed(mixed[0]), text)
    text = text if spelt == text else _BOLD.sub(lambda bold: _from_bold(bold[0]), spelt)
    text = text if text.count("_") < _MANY_UNDERSCORES else _UNDERSCORES.sub(" ", text)
    text = _SEPARATED.sub(lambda pieces: _from_pieces(pieces[0]), text)
    text = _SHORT_PIECES.sub(lambda pieces: _from_short_pieces(pieces[0]), text)
    text = _LONG.sub(_from_long, text)
    if _LONG_RUN.search(text) is None:
        return text
    return _ALPHA.sub(lambda drawn: _from_drawn(drawn[0]), text)


def _from_singles(run: str) -> str:
    """The words of a run of single letters: wider gaps part them, or where none is wider, what are words."""
    letters = [match.groups() for match in _SINGLE.finditer(run)]
    gaps = {gap for _, gap in letters[:-1]}
    if sum(letter.isalpha() for letter, _ in letters) < 2:
        return run
    parting = _parting(gaps)
    words = "".join(letter + (" " if gap in parting else "") for letter, gap in letters).split()
    return " ".join(written_out(split_words(_from_mixed(word))) for word in words)


def _parting(gaps: set[str]) -> set[str]:
    """The gaps that stand between words rather than letters: those with blanks among others, or the longer blanks."""
    blank = {gap for gap in gaps if " " in gap}
    if blank != gaps:
        return blank
    shortest = min(map(len, gaps), default=0)
    return {gap for gap in gaps if len(gap) > shortest}


def _from_mixed(mixed: str) -> str:
    """A word with digits or signs for letters as the English word that it spells; anything else as it is."""
    if mixed.isalpha() or mixed.isdigit() or _ORDINAL.fullmatch(mixed):
        return mixed
    start = len(mixed) - len(mixed.lstrip("!|+(#*"))
    end = max(start, len(mixed.rstrip("!|+(#*")))
    core = mixed[start:end]
    if not 2 <= len(core) <= _LONGEST_MIXED or core.isalpha() or not any(map(str.isalpha, core)):
        return mixed
    found = next((word for word in _spellings(core) if is_word(word)), None)
    return mixed if found is None else f"{mixed[:start]}{found}{mixed[end:]}"


def _from_bold(bold: str) -> str:
    """A short word of digits and signs as the common word that it spells; a closing sign stays where it closes."""
    if bold.isdigit() and len(bold) > 3:
        return bold
    return next((word for word in _spellings(bold) if word in ("a", "i", "s") or is_word(word, _COMMON)), bold)


def _spellings(word: str) -> Iterator[str]:
    choices = [_LEET.get(char, char) for char in word]
    return ("".join(chars) for chars in islice(product(*choices), _MOST_SPELLINGS))


def _from_pieces(text: str) -> str:
    """A word with signs between its letters put together; words with signs in place of blanks parted."""
    pieces = _PIECE_SEPARATOR.split(text)
    together = "".join(pieces)
    if len(together) <= _SHORT:
        return text
    if is_word(together) and (len(pieces) > 2 or not all(is_word(piece, _COMMON) for piece in pieces)):
        return together
    all_words = all(is_word(piece) for piece in pieces)
    if all_words:
        return " ".join(pieces) if len(pieces) > 2 else text
    split = split_words(together).split()
    better = len(split) <= len(pieces) and all(len(word) > 2 and is_word(word, _FREQUENT) for word in split)
    return " ".join(split) if better else text


def _from_short_pieces(text: str) -> str:
    """Words cut in pieces of a few letters, put together where that gives fewer and better words."""
    pieces = text.split()
    if sum(is_word(piece, _COMMON) for piece in pieces) * 4 > 3 * len(pieces):
        return text
    words = split_words("".join(pieces)).split()
    return " ".join(words) if all(map(is_word, words)) and len(words) < len(pieces) else text


def _from_long(found: re.Match[str]) -> str:
    """A word too long for one as the words it is made of, where they are as likely as English is; where it stands
    right behind another sentence, or a part of one, apart from it.
    """
    letters = found[0]
    if is_word(letters):
        return letters
    bare = letters.replace("'", "").replace("\u2019", "")
    words = split_words(bare).split()
    goes_on = found.string[max(0, found.start() - 1) : found.start()] in _CLOSING
    if not _are_likely(words, may_be_one=not goes_on and len(bare) <= _LONGEST_UNKNOWN):
        return letters
    return " " * goes_on + written_out(" ".join(words))


def _are_likely(words: Sequence[str], *, may_be_one: bool) -> bool:
    """Whether letters without blanks are these words rather than one that is not known."""
    if len(words) < _FEWEST_WORDS:
        return False
    if may_be_one:
        return min(map(len, words[1:])) > 1 and surprise(words) <= _MOST_SURPRISE_OF_SHORT
    return surprise(words) <= _MOST_SURPRISE


def _from_drawn(word: str) -> str:
    """A word with letters drawn out, shortened to the English word that it is."""
    if is_word(word):
        return word
    runs = list(islice(_LONG_RUN.finditer(word), _MOST_RUNS))
    if not runs:
        return word
    drawn = (_shortened(word, lengths) for lengths in islice(product((2, 1), repeat=len(runs)), _MOST_SPELLINGS))
    return most_frequent(drawn) or word


def _shortened(word: str, lengths: Iterable[int]) -> str:
    """`word` with its runs of one letter cut to `lengths`; further runs to one letter."""
    sizes = iter(lengths)
    return _LONG_RUN.sub(lambda run: run[1] * next(sizes, 1), word)
