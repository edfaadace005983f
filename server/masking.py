"""Secrets out of what is printed: the user's part of an address, and values that are keys by their name."""

from __future__ import annotations

import re

MASK = "***"
_USER = re.compile(r"(?<=://)[^/?#\s'\"]*@")
_VALUE = re.compile(
    r"([?&;][\w.\-\[\]]*(?:key|token|secret|passw|pwd|sig|signature|auth|credential)[\w.\-\[\]]*=)(?!\{)[^&;#\s'\"]+",
    re.IGNORECASE,
)


def masked(text: str) -> str:
    """`text` with the secrets of every address in it replaced; a placeholder in braces is none and stays."""
    return _VALUE.sub(rf"\1{MASK}", _USER.sub(f"{MASK}@", text))
