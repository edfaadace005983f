"""The ways a text can be read: as it is written, as it looks, and as one reads it who puts its letters together."""

from __future__ import annotations

import re
import unicodedata

from server.chat.text.folding import seen_text
from server.chat.text.joined import joined
from server.chat.text.pictures import spoken

# Whatever a renderer may take for the end of a line, and runs of other white space.
_BLANK = re.compile(r"[\s\x0b\x0c\x1c-\x1f\x85\u2028\u2029]+")
_FORMATS = {code: None for code in range(0x20000) if unicodedata.category(chr(code)) == "Cf"} | dict.fromkeys(
    range(0xE0000, 0xE0080)
)


def readings(text: str) -> list[str]:
    """The different readings of `text`, each on one line: as it is written, as it looks, and as it is said: with its
    words joined and words for its emoji.

    In time linear in the length of `text`.
    """
    return list(dict.fromkeys(map(one_line, forms(text))))


def forms(text: str) -> list[str]:
    """The readings of `text` with its lines as they are."""
    written, seen = _written(text), seen_text(text)
    found = [written, *([seen] if one_line(seen) not in ("", one_line(written)) else [])]
    said = spoken(text)
    together = joined(one_line(seen if said == text else seen_text(said)))
    return [*found, together] if together not in ("", one_line(seen).lower()) else found


def plain(text: str) -> str:
    """`text` on one line: compatibility forms folded, format characters gone."""
    return one_line(_written(text))


def one_line(text: str) -> str:
    """`text` with every run of white space as one blank, and none around it."""
    return _BLANK.sub(" ", text).strip()


def _written(text: str) -> str:
    return unicodedata.normalize("NFKC", text).translate(_FORMATS)
