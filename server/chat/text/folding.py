"""A text as a reader or a careless parser sees it, with the way back to the characters it came from."""

from __future__ import annotations

import html
import json
import re
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from server.chat.text.visible import is_visible

# Signs of a tag, and letters, that Unicode's data does not count as alike.
_OWN_LOOKALIKES = {
    "<": "‹〈⟨❬❮˂ᐸ❰⧼«《⟪≪",
    ">": "›〉⟩❭❯˃ᐳ❱⧽»》⟫≫",
    "|": "∣ǀ❘¦⏐│׀।",
    "/": "⁄∕⧸╱",
    ":": "∶꞉ː։׃˸",
    "b": "ьƅ",
    "f": "ғҒϝ",
    "h": "ђћ",
    "k": "ĸ",
    "l": "Լⲗӏ\u04c0",
    "n": "пиИ",
    "q": "Ԛ",
    "r": "яЯ",
    "w": "ωшɯ",
}
_GENERATED: dict[str, str] = json.loads(Path(__file__).with_name("lookalikes.json").read_text("utf-8"))
_LOOKALIKES = {
    ord(char): letter for table in (_GENERATED, _OWN_LOOKALIKES) for letter, chars in table.items() for char in chars
}
_LINE_ENDS = "\n\r\x0b\x0c\x1c\x1d\x1e\x85\u2028\u2029"
_WITHOUT_FORM = frozenset({"Cn", "Co"})  # a reader's font may show nothing for them
_ENTITY = re.compile(
    r"&(?:(?:amp|#0*38|#x0*26);?)*(?P<name>#0*\d{1,7};?|#x0*[0-9a-f]{1,6};?|lt;?|gt;?|[a-z][a-z0-9]{1,31};)",
    re.IGNORECASE,
)
_LEADING_ZEROS = re.compile(r"(?<=#)0+(?=[0-9])|(?<=#x)0+(?=[0-9a-f])")


@dataclass(frozen=True)
class Folded:
    """`text` in plain lower-case letters; character i of it stands for original[starts[i]:ends[i]]."""

    text: str
    starts: list[int]
    ends: list[int]


def fold(original: str) -> Folded:
    """Compatibility forms, case, accents, look-alikes and HTML entities folded, invisible characters left out.

    Every character, and every entity, is folded by itself, so a change elsewhere in the text changes nothing here.
    """
    return _decode_entities(_fold_characters(original))


def folded_text(original: str) -> str:
    """The text of `fold(original)`, without the way back: much less work."""
    return _ENTITY.sub(_replacement, original.translate(_FOLDS))


def seen_text(original: str) -> str:
    """`folded_text`, but capitals stay capitals."""
    return _ENTITY.sub(_replacement, original.translate(_SEEN))


def _replacement(match: re.Match[str]) -> str:
    decoded = _decode_entity(match["name"])
    return match[0] if decoded is None else decoded


def _fold_characters(original: str) -> Folded:
    folds = [_FOLDS[ord(char)] for char in original]
    starts = [index for index, folded in enumerate(folds) for _ in folded]
    return Folded("".join(folds), starts, [start + 1 for start in starts])


class _Table(dict[int, str]):
    """A table for `str.translate`, filled as characters come."""

    def __init__(self, value: Callable[[str], str]) -> None:
        self._value = value

    def __missing__(self, code: int) -> str:
        self[code] = self._value(chr(code))
        return self[code]


def _fold_character(char: str) -> str:
    if char in _LINE_ENDS:
        return "\n"
    if char.isspace():
        return " "
    plain = _fixed_point(char)
    # Some accents decompose into a space, which is not visible either: one character never folds to two words.
    return "".join(part for part in plain if is_visible(part) and unicodedata.category(part) not in _WITHOUT_FORM)


def _fixed_point(char: str) -> str:
    """What `char` looks like, looked up again until nothing changes: folding gives letters with look-alikes."""
    while True:
        plain = unicodedata.normalize("NFKD", char.translate(_LOOKALIKES)).casefold().translate(_LOOKALIKES)
        if plain == char:
            return plain
        char = plain


def _seen_character(char: str) -> str:
    folded = _fold_character(char)
    return folded.upper() if char.isupper() else folded


_FOLDS, _SEEN = _Table(_fold_character), _Table(_seen_character)


def _decode_entities(folded: Folded) -> Folded:
    if "&" not in folded.text:
        return folded
    pieces, starts, ends = [], [], []
    done = 0
    for match in _ENTITY.finditer(folded.text):
        decoded = _decode_entity(match["name"])
        if decoded is None:
            continue
        pieces += [folded.text[done : match.start()], decoded]
        starts += folded.starts[done : match.start()] + [folded.starts[match.start()]] * len(decoded)
        ends += folded.ends[done : match.start()] + [folded.ends[match.end() - 1]] * len(decoded)
        done = match.end()
    pieces.append(folded.text[done:])
    return Folded("".join(pieces), starts + folded.starts[done:], ends + folded.ends[done:])


@lru_cache(maxsize=4096)
def _decode_entity(name: str) -> str | None:
    """What the entity stands for, folded; None when it stands for nothing."""
    name = _LEADING_ZEROS.sub("", name.lower())  # html.unescape fails on some thousand digits
    entity = f"&{name}" if name.endswith(";") else f"&{name};"
    decoded = html.unescape(entity)
    return None if decoded == entity else decoded.translate(_FOLDS)
