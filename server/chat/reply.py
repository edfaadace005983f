"""A generated text as it is stored and shown: without what is not part of what was said."""

from __future__ import annotations

import re

HUMAN_TAG = "<human>"
_NOISE = re.compile(r"<pad>|</s>|<\|endoftext\|>")
# The beginning of a human tag at the very end, where generation ended before the tag was whole.
_UNFINISHED_TAG = re.compile(r"(?:\n\s*<(?:h(?:u(?:m(?:an?)?)?)?)?\s*)+$")


def clean_reply(text: str) -> str:
    """What stands before the human tag, without padding, end-of-text tokens and outer white space.

    A text that is clean stays as it is, and nothing is added to a text that was cut off.
    """
    said = _without_noise(text).partition(HUMAN_TAG)[0]
    return _UNFINISHED_TAG.sub("", said).strip()


def _without_noise(text: str) -> str:
    """`text` without padding; again and again, since taking one out can make another."""
    while (shorter := _NOISE.sub("", text)) != text:
        text = shorter
    return text
