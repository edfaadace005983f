"""A generated text as it is stored and shown: without what is not part of what was said."""

from __future__ import annotations

import re

from server.chat.text.neutralise import MARK, restore

HUMAN_TAG = "<human>"
_LONGEST_NOISE = 16  # characters, of the tags that cleaning looks for
_LONGEST_TAG = 80  # of those that neutralising looks for, with some white space in them
_NOISE = re.compile(r"<pad>|</s>|<\|endoftext\|>")
# The beginning of a human tag at the very end, where generation ended before the tag was whole.
_UNFINISHED_TAG = re.compile(r"(?:\n\s*<(?:h(?:u(?:m(?:an?)?)?)?)?\s*)+$")


def clean_reply(text: str) -> str:
    """What stands before the human tag, without padding, end-of-text tokens and outer white space.

    A text that is clean stays as it is, and nothing is added to a text that was cut off.
    """
    said = _without_noise(text).partition(HUMAN_TAG)[0]
    return _UNFINISHED_TAG.sub("", said).strip()


def shown_reply(text: str) -> str:
    """A generated text as it is judged, shown and stored: cleaned, and what it repeats of neutralised tags restored.

    The next prompt neutralises it again, which gives the tokens that were generated.
    """
    return restore(clean_reply(text))


def stable_end(text: str) -> int:
    """Where an unfinished `text` can be cut so that what follows cannot change how the part before is shown.

    That is before a tag that may be unfinished, and before a backslash that may yet turn out to neutralise one.
    """
    opened = text.rfind("<", max(0, len(text) - _LONGEST_NOISE))
    end = len(text) if opened < 0 or ">" in text[opened:] else opened
    marked = text.find(MARK, max(0, len(text) - _LONGEST_TAG))
    return end if marked < 0 else min(end, marked)


def _without_noise(text: str) -> str:
    """`text` without padding; again and again, since taking one out can make another."""
    while (shorter := _NOISE.sub("", text)) != text:
        text = shorter
    return text
