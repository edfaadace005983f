"""A generated text as it is stored and shown, whole or as it grows: without what is not part of what was said."""

from __future__ import annotations

import re

from server.chat.prompt.chat_format import ChatFormat
from server.chat.text.neutralise import MARK, Neutraliser
from server.chat.text.normal import without_unseen

_LONGEST_NEUTRALISED = 80  # characters, of the tags that neutralising looks for, with some white space in them
_ENDS_OF_WORDS = ".!?,;"


class ReplyCleaner:
    """Cleans what a model wrote in one format."""

    def __init__(self, chat_format: ChatFormat) -> None:
        self._restore = Neutraliser(chat_format.markup).restore
        self._noise, self._end = _any_of(chat_format.noise), _any_of(chat_format.ends)
        tags = [end.removeprefix("\n") for end in chat_format.ends if end.startswith("\n")]
        self._beginnings = frozenset(tag[:end] for tag in tags for end in range(1, len(tag)))
        self._longest = max(map(len, (*chat_format.noise, *chat_format.ends)), default=0) + 3

    def clean(self, text: str) -> str:
        """What stands before the tag of the next turn, without padding, end-of-text tokens and outer white space.

        A text that is clean stays as it is, and nothing is added to a text that was cut off.
        """
        said = self._end.split(self._without_noise(text), maxsplit=1)[0]
        return self._without_unfinished(said).strip()

    def shown(self, text: str) -> str:
        """A generated text as it is judged, shown and stored: what is unseen gone, cleaned, neutralised tags restored.

        The next prompt neutralises it again, which gives the tokens that were generated.
        """
        return self._restore(self.clean(without_unseen(text)))

    def stable_end(self, text: str) -> int:
        """Where an unfinished `text` can be cut so that what follows cannot change how the part before is shown.

        That is before a tag that may be unfinished, and before a backslash that may yet turn out to neutralise one.
        """
        opened = text.rfind("<", max(0, len(text) - self._longest))
        end = len(text) if opened < 0 or ">" in text[opened:] else opened
        marked = text.find(MARK, max(0, len(text) - _LONGEST_NEUTRALISED))
        return end if marked < 0 else min(end, marked)

    def _without_unfinished(self, text: str) -> str:
        """`text` without the beginnings of tags at its very end, where generation ended before the tag was whole."""
        while (line := (text := text.rstrip()).rfind("\n")) >= 0:
            if text[line + 1 :].lstrip() not in self._beginnings:
                break
            text = text[:line]
        return text

    def _without_noise(self, text: str) -> str:
        """`text` without padding; again and again, since taking one out can make another."""
        while (shorter := self._noise.sub("", text)) != text:
            text = shorter
        return text


class GrowingReply:
    """Turns what a model writes into what is shown; the pieces joined are what `ReplyCleaner.shown` gives of it all.

    What has been shown is settled up to the end of a word, and from there on only that word's last character is read
    again, as what stands before the rest.
    """

    def __init__(self, cleaner: ReplyCleaner, begun: str = "") -> None:
        """`begun` are the first characters of what is written, which count as shown already."""
        self._cleaner = cleaner
        self._start = 0  # of what is not settled, in the text as it is written
        self._shown = begun  # of the text from there on

    def next_piece(self, written: str, end: int, *, over: bool) -> str:
        """What is shown of `written`, up to character `end`, beyond what was shown before.

        White space at its end, and what may be the beginning of a tag, wait for what follows, unless the reply is over.
        """
        text = written[self._start : end]
        if not over:
            text = text[: self._cleaner.stable_end(text)]
        shown = self._cleaner.shown(text)
        if not shown.startswith(self._shown):
            return ""
        piece, self._shown = shown[len(self._shown) :], shown
        self._settle(written, self._start + len(text))
        return piece

    def _settle(self, written: str, end: int) -> None:
        """Leave behind what is before the last word's end in front of white space."""
        for place in range(end - 1, self._start + 1, -1):
            last = written[place - 1]
            if written[place].isspace() and (last in _ENDS_OF_WORDS or (last.isascii() and last.isalnum())):
                break
        else:
            return
        settled = self._cleaner.shown(written[self._start : place])
        if settled.endswith(last) and self._shown.startswith(settled):
            self._start, self._shown = place - 1, self._shown[len(settled) - 1 :]


def _any_of(words: tuple[str, ...]) -> re.Pattern[str]:
    """A pattern for any of `words`; for none of them one that is nowhere, where an empty one would be everywhere."""
    return re.compile("|".join(map(re.escape, words)) or "(?!)")
