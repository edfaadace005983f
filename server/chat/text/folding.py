"""A text as a reader or a careless parser sees it, with the way back to the characters it came from."""

from __future__ import annotations

import html
import re
import unicodedata
from dataclasses import dataclass
from functools import lru_cache

from server.chat.text.visible import is_visible

# What looks like a sign or letter of a tag but has no compatibility form in Unicode.
_LOOK_ALIKES = str.maketrans(
    {
        **dict.fromkeys("‹〈⟨❬❮˂ᐸ❰⧼«《⟪≪", "<"),
        **dict.fromkeys("›〉⟩❭❯˃ᐳ❱⧽»》⟫≫", ">"),
        **dict.fromkeys("∣ǀ❘¦⏐│׀।", "|"),
        **dict.fromkeys("⁄∕⧸╱", "/"),
        **dict.fromkeys("∶꞉ː։׃˸", ":"),
        **dict.fromkeys("аɑαɐ", "a"),
        **dict.fromkeys("ьƅɓв", "b"),
        **dict.fromkeys("сᴄ", "c"),
        **dict.fromkeys("ԁɗ", "d"),
        **dict.fromkeys("её℮ε", "e"),
        **dict.fromkeys("ցɡɢ", "g"),
        **dict.fromkeys("һհɦнʜ", "h"),
        **dict.fromkeys("κкᴋĸ", "k"),
        **dict.fromkeys("мᴍʍ", "m"),
        **dict.fromkeys("ոɳпɴη", "n"),
        **dict.fromkeys("оοօᴏɵø", "o"),
        **dict.fromkeys("рρ", "p"),
        **dict.fromkeys("ʀгᴦ", "r"),
        **dict.fromkeys("ѕꜱ", "s"),
        **dict.fromkeys("тτᴛ", "t"),
        **dict.fromkeys("սυᴜʋ", "u"),
        **dict.fromkeys("хχ", "x"),
    }
)
_LINE_ENDS = "\n\r\x0b\x0c\x1c\x1d\x1e\x85\u2028\u2029"
_WITHOUT_FORM = frozenset({"Cn", "Co"})  # a reader's font may show nothing for them
_ENTITY = re.compile(
    r"&(?:(?:amp|#0*38|#x0*26);?)*(?P<name>#0*\d{1,7};?|#x0*[0-9a-f]{1,6};?|lt;?|gt;?|[a-z][a-z0-9]{1,31};)"
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


def _fold_characters(original: str) -> Folded:
    if original.isascii() and original.isprintable():
        return Folded(original.lower(), list(range(len(original))), list(range(1, len(original) + 1)))
    chars: list[str] = []
    starts: list[int] = []
    for index, char in enumerate(original):
        folded = _fold_character(char)
        chars.append(folded)
        starts.extend([index] * len(folded))
    return Folded("".join(chars), starts, [start + 1 for start in starts])


@lru_cache(maxsize=4096)
def _fold_character(char: str) -> str:
    if char in _LINE_ENDS:
        return "\n"
    if char.isspace():
        return " "
    plain = unicodedata.normalize("NFKD", char).casefold().translate(_LOOK_ALIKES)
    plain = unicodedata.normalize("NFKD", plain)
    # Some accents decompose into a space, which is not visible either: one character never folds to two words.
    return "".join(part for part in plain if is_visible(part) and unicodedata.category(part) not in _WITHOUT_FORM)


def _decode_entities(folded: Folded) -> Folded:
    if "&" not in folded.text:
        return folded
    text, starts, ends = "", [], []
    done = 0
    for match in _ENTITY.finditer(folded.text):
        decoded = _decode_entity(match["name"])
        if decoded is None:
            continue
        text += folded.text[done : match.start()] + decoded
        starts += folded.starts[done : match.start()] + [folded.starts[match.start()]] * len(decoded)
        ends += folded.ends[done : match.start()] + [folded.ends[match.end() - 1]] * len(decoded)
        done = match.end()
    return Folded(text + folded.text[done:], starts + folded.starts[done:], ends + folded.ends[done:])


def _decode_entity(name: str) -> str | None:
    """What the entity stands for, folded; None when it stands for nothing."""
    name = _LEADING_ZEROS.sub("", name)  # html.unescape fails on some thousand digits
    entity = f"&{name}" if name.endswith(";") else f"&{name};"
    decoded = html.unescape(entity)
    return None if decoded == entity else "".join(map(_fold_character, decoded))
