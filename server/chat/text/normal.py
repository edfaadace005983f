"""The one form of a text that is judged, prompted, searched for, stored and shown.

What no reader sees is taken out, so that nothing can be said to the model that is not judged: tags (U+E0000 and on),
variation selectors, controls of direction, zero-width characters, fillers, unassigned and private characters, and
combining marks beyond four on a letter. What makes a letter or an emoji is kept where it does: the joiners of families
and professions, the selectors that colour a heart, the tags of the flags of England, Scotland and Wales, and the
joiners of Arabic and the Indic scripts between their letters. The rest is in Unicode's composed form (NFC).
"""

from __future__ import annotations

import re
import unicodedata

from server.chat.text.visible import FILLERS

MAX_MARKS = 4  # combining marks on one character; no script in use needs more
_LONGEST_BLANK = 128  # characters of white space in a row; the blanks of code are shorter
_LONG_BLANK = re.compile(rf"(\s{{{_LONGEST_BLANK}}})\s+")
_LINE_ENDS = re.compile(r"\r\n?|[\x0b\x0c\x1c-\x1e\x85\u2028\u2029]")
_ASCII_CONTROLS = dict.fromkeys([*range(9), *range(14, 28), 31, 127])
_REGIONS = frozenset("".join(chr(0xE0000 + ord(char)) for char in name) for name in ("gbeng", "gbsct", "gbwls"))
_TAG = re.compile("[\U000e0020-\U000e007e]")
_FLAG, _KEYS = "\U0001f3f4", frozenset("#*0123456789")
_SHOWN_FORMATS = frozenset("\u0600\u0601\u0602\u0603\u0604\u0605\u06dd\u070f\u0890\u0891\u08e2\U000110bd\U000110cd")
# Scripts that write with joiners: Arabic, Syriac and N'Ko, the Indic scripts, Tibetan to Myanmar, Khmer and Mongolian.
_JOINING = ((0x600, 0x8FF), (0x900, 0xDFF), (0xF00, 0x109F), (0x1780, 0x18AF), (0xFB50, 0xFDFF), (0xFE70, 0xFEFC))
_PICTURES = (0x1F000, 0x1FAFF)
# What is kept of a text whose characters are written as their kinds (see `_kind`).
_KEPT = re.compile(
    rf"Ft+T|[EF]v?(?:j[EF]v?)*|[.k]+(?:(?<=k)vM|M{{1,{MAX_MARKS}}})?|A(?:M{{1,{MAX_MARKS}}})?(?:[jn](?=[AM]))?"
)


def normalise(text: str) -> str:
    """`text` without what cannot be seen, without white space around it, composed. Twice changes nothing more.

    Takes time linear in the length of `text`, whatever it holds.
    """
    text = _LINE_ENDS.sub("\n", text.strip())
    if text.isascii():
        return _LONG_BLANK.sub(r"\1", text.translate(_ASCII_CONTROLS).strip())
    while (seen := _composed(text)) != text:
        text = seen
    return text


def hidden_text(text: str) -> str:
    """What the tags in `text`, which nobody sees, spell in ASCII, but for those of flags; nearly always nothing."""
    if _TAG.search(text) is None:
        return ""
    for region in _REGIONS:
        text = text.replace(f"{_FLAG}{region}", "")
    return "".join(chr(ord(char) - 0xE0000) for char in _TAG.findall(text)).strip()


def without_unseen(text: str) -> str:
    """`text` without what cannot be seen, its white space as it is: for a part of a text that goes on."""
    text = _LINE_ENDS.sub("\n", text)
    return text.translate(_ASCII_CONTROLS) if text.isascii() else unicodedata.normalize("NFC", _kept(text))


def _composed(text: str) -> str:
    return _LONG_BLANK.sub(r"\1", unicodedata.normalize("NFC", _kept(text)).strip())


def _kept(text: str) -> str:
    """`text` without the characters that are in no kept group."""
    kinds = text.translate(_KINDS)
    spans = (match.span() for match in _KEPT.finditer(kinds))
    return "".join([_group(text[start:end]) for start, end in spans])


def _group(group: str) -> str:
    """A kept group; of a black flag with tags the flag alone, where the tags name no region."""
    if group[0] == _FLAG and len(group) > 1 and 0xE0000 <= ord(group[1]) <= 0xE007F and group[1:-1] not in _REGIONS:
        return _FLAG
    return group


class _Kinds(dict[int, str]):
    """A table for `str.translate`: every character as the letter of its kind, filled as characters come."""

    def __missing__(self, code: int) -> str:
        self[code] = _kind(chr(code))
        return self[code]


_KINDS = _Kinds()


def _kind(char: str) -> str:
    """One letter: `i` unseen, `M` mark, `v` emoji selector, `j` and `n` joiners, `t` tag and `T` the tag that ends
    tags, `E` picture and `F` the flag that takes tags, `k` key, `A` letter of a script with joiners, `.` anything else.
    """
    code, category = ord(char), unicodedata.category(char)
    special = {"\u200d": "j", "\u200c": "n", "\ufe0e": "v", "\ufe0f": "v", "\U000e007f": "T", _FLAG: "F"}.get(char)
    if special is not None:
        return special
    if 0xE0020 <= code < 0xE007F:
        return "t"
    if _is_unseen(char, category):
        return "i"
    if category in ("Mn", "Me"):
        return "M"
    if category == "So" or _PICTURES[0] <= code <= _PICTURES[1]:
        return "E"
    if char in _KEYS:
        return "k"
    return "A" if category[0] in "LM" and any(first <= code <= last for first, last in _JOINING) else "."


def _is_unseen(char: str, category: str) -> bool:
    if char in "\n\t" or char in _SHOWN_FORMATS or _PICTURES[0] <= ord(char) <= _PICTURES[1]:
        return False  # among the pictures, those of a newer Unicode than Python's have no category yet
    selector = 0xFE00 <= ord(char) <= 0xFE0F or 0xE0100 <= ord(char) <= 0xE01EF or char in "\u180b\u180c\u180d\u180f"
    return char in FILLERS or selector or char == "\u034f" or category in ("Cc", "Cf", "Cs", "Cn", "Co")
