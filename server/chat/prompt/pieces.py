"""The token ids of a prompt's pieces: tags are put in as ids, everything else is encoded apart, neutralised."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Sequence

from server.chat.prompt.preamble import preamble_lines
from server.chat.prompt.tokenizer import ChatTokenizer
from server.chat.text.neutralise import neutralise

HUMAN, BOT, BACKGROUND, NEWLINE = "<human>:", "<bot>:", "Background:", "\n"
_SENTENCE_END = re.compile(r"[.!?]['\")\]]*(?=\s)|[\u3002\uff01\uff1f]")


class PromptPieces:
    """Encodes the pieces of prompts for one tokenizer.

    A text of more than `max_tokens` tokens is not read to its end: what comes back is longer than `max_tokens`, too.
    """

    def __init__(self, tokenizer: ChatTokenizer, max_tokens: int) -> None:
        self._tokenizer = tokenizer
        # Twice, since a tokenizer may compose characters first, up to four into three bytes.
        self._max_chars = 2 * (max_tokens + 1) * tokenizer.longest_token_bytes
        self._human = tokenizer.encode_structure(HUMAN)
        self._bot = tokenizer.encode_structure(BOT)
        self._background = tokenizer.encode_structure(BACKGROUND)
        self._newline = tokenizer.encode_structure(NEWLINE)
        self.num_background_tokens = len(self._background) + len(self._newline)

    def preamble(self, session_created_at: float, system: str) -> list[int]:
        """Date and time, an empty line, and the system text with an empty line, where there is one."""
        date, time = map(self._tokenizer.encode, preamble_lines(session_created_at))
        lines = date + self._newline + time + self._newline + self._newline
        if system.strip():
            lines += self._tokenizer.encode(self._plain(system)) + self._newline + self._newline
        return lines

    def question(self, text: str) -> list[int]:
        """A question between its tag and the tag that opens the reply."""
        return self._human + self._content(text) + self._newline + self._bot

    def reply(self, text: str) -> list[int]:
        """A reply and the end of its line."""
        return self._content(text) + self._newline

    def background(self, passage: Sequence[int]) -> list[int]:
        """The line of a passage, given its tokens; nothing for no tokens."""
        return [*self._background, *passage, *self._newline] if passage else []

    def passage(self, texts: Sequence[str], limit: int) -> tuple[list[int], int]:
        """The texts on one line, cut to at most `limit` tokens, and how many of the texts have a part in them.

        The cut is after a sentence or at least a word if possible.
        """
        line = self._one_line(texts)
        ids, ends = self._tokenizer.encode_with_ends(line)
        if len(ids) > limit:
            ids = ids[: bisect_right(ends, _cut(line, ends, limit))]
        return ids, self._num_texts_before(texts, ends[len(ids) - 1] if ids else 0)

    def passage_again(self, texts: Sequence[str], num_tokens: int) -> list[int]:
        """What `passage` returned when it returned `num_tokens` tokens."""
        return self._tokenizer.encode(self._one_line(texts))[:num_tokens]

    def _num_texts_before(self, texts: Sequence[str], end: int) -> int:
        """How many of the texts begin before character `end` of their line."""
        before = range(len(texts) + 1)
        return next(count for count in before if count == len(texts) or len(self._one_line(texts[:count])) >= end)

    def _one_line(self, texts: Sequence[str]) -> str:
        plain = self._plain(" ".join(word for text in texts for word in text.split()))
        return f" {plain}" if plain else ""

    def _content(self, text: str) -> list[int]:
        plain = self._plain(text)
        return self._tokenizer.encode(f" {plain}") if plain else []

    def _plain(self, text: str) -> str:
        """`text` cut and neutralised; blanks go before the cut, never after it, so that what is cut is too long."""
        return neutralise(text.strip()[: self._max_chars])


def _cut(text: str, ends: list[int], limit: int) -> int:
    """Where to cut `text` so that at most `limit` tokens stay, given where each token's characters end."""
    if limit == 0:
        return 0
    longest = ends[limit - 1] if ends[limit] > ends[limit - 1] else ends[limit - 1] - 1  # no half characters
    sentence = max((match.end() for match in _SENTENCE_END.finditer(text, 0, longest + 1)), default=0)
    word = longest if text[longest].isspace() else text.rfind(" ", 0, longest)
    return next((place for place in (sentence, word) if longest / 2 <= place <= longest), longest)
