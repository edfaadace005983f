"""Which characters a reader sees."""

from __future__ import annotations

import unicodedata

_UNSEEN_CATEGORIES = frozenset({"Cc", "Cf", "Cs", "Mn", "Me"})
FILLERS = frozenset("\u115f\u1160\u3164\uffa0\u2800\u17b4\u17b5")  # Unicode counts them as letters or symbols
_CHARS_AT_ONCE = 4096


def is_visible(char: str) -> bool:
    """Whether `char` alone shows; white space, control characters, fillers and lone combining marks do not."""
    return not char.isspace() and char not in FILLERS and unicodedata.category(char) not in _UNSEEN_CATEGORIES


class _Seen(dict[int, str | None]):
    """A table for `str.translate` that takes out what is not visible, filled as characters come."""

    def __missing__(self, code: int) -> str | None:
        self[code] = chr(code) if is_visible(chr(code)) else None
        return self[code]


_SEEN = _Seen()


def is_blank(text: str) -> bool:
    """Whether nothing in `text` is visible; megabytes of blanks take milliseconds."""
    rest = text.strip()
    return not any(
        rest[start : start + _CHARS_AT_ONCE].translate(_SEEN) for start in range(0, len(rest), _CHARS_AT_ONCE)
    )
