"""Which characters a reader sees."""

from __future__ import annotations

import unicodedata

_UNSEEN_CATEGORIES = frozenset({"Cc", "Cf", "Cs", "Mn", "Me"})
_FILLERS = frozenset("\u115f\u1160\u3164\uffa0\u2800\u17b4\u17b5")  # Unicode counts them as letters or symbols


def is_visible(char: str) -> bool:
    """Whether `char` alone shows; white space, control characters, fillers and lone combining marks do not."""
    return not char.isspace() and char not in _FILLERS and unicodedata.category(char) not in _UNSEEN_CATEGORIES


def is_blank(text: str) -> bool:
    """Whether nothing in `text` is visible."""
    return not any(map(is_visible, text))
