"""A reply that grows: what is shown of it, piece by piece, without ever reading it again as a whole."""

from __future__ import annotations

from server.chat.reply.clean import ReplyCleaner

_ENDS_OF_WORDS = ".!?,;"


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
