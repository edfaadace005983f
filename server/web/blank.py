"""What counts as text."""

from __future__ import annotations

import unicodedata


def is_blank(text: str) -> bool:
    """Whether nothing in `text` is visible: white space, control characters and zero-width characters alone."""
    return all(char.isspace() or unicodedata.category(char) in ("Cc", "Cf") for char in text)
