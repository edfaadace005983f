"""The token ids of a prompt's pieces: tags are put in as ids, everything else is encoded apart, neutralised."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from server.chat.prompt.chat_format import ChatFormat, Place, dated
from server.chat.prompt.tokenizer import ChatTokenizer
from server.chat.text.neutralise import Neutraliser

_LINES_KEPT = 256
_TEXTS_KEPT, _LONGEST_KEPT = 256, 4096  # the latter in characters
_SENTENCE_END = re.compile(r"[.!?]['\")\]]*(?=\s)|[\u3002\uff01\uff1f]")


@dataclass(frozen=True)
class _Frame:
    """What stands around a text: ids before it, blanks that are encoded with it, ids behind it."""

    opens: list[int]
    lead: str
    closes: list[int]


class PromptPieces:
    """Encodes the pieces of prompts for one tokenizer, in one format.

    A text of more than `max_tokens` tokens is not read to its end: what comes back is longer than `max_tokens`, too.
    """

    def __init__(self, tokenizer: ChatTokenizer, chat_format: ChatFormat, max_tokens: int) -> None:
        self._tokenizer = tokenizer
        # The lines of a format are few, and each of them is asked for several times a turn.
        self._line = lru_cache(_LINES_KEPT)(lambda line: tuple(tokenizer.encode_structure(line)))
        # A question is asked for several times a turn, and a conversation's texts at every turn.
        self._remembered = lru_cache(_TEXTS_KEPT)(self._encoded)
        self._format = chat_format
        self._neutralise = Neutraliser(chat_format.markup).neutralise
        # Twice, since a tokenizer may compose characters first, up to four into three bytes.
        self._max_chars = 2 * (max_tokens + 1) * tokenizer.longest_token_bytes
        self._question, self._reply = self._frame(chat_format.question), self._frame(chat_format.reply)
        opens, closes = chat_format.background
        self._inside = chat_format.background_place is Place.INSIDE
        self._lead_behind = _blanks_at_end(closes) * self._inside  # they go with the question
        closes = closes.removesuffix(self._lead_behind)
        self._background = self._frame((self._question.lead * self._inside + opens, closes))
        self._opened_background = self._frame((opens, closes))
        self.num_background_tokens = len(self._background.opens) + len(self._background.closes)
        self.end_token_ids = tokenizer.ids_of(_end_tokens(chat_format))

    def preamble(self, session_created_at: float, system: str) -> list[int]:
        """The session's first lines and the system text, where there are any."""
        text = system.strip() or self._format.default_system
        ids = self._structure(dated(self._format.preamble, session_created_at))
        if not text:
            return ids
        opens, closes = (dated(half, session_created_at) for half in self._format.system)
        within = self._format.system_in_question
        frame = self._frame((self._question.lead * within + opens, closes))
        ids = ids if self._format.preamble_stays else []
        ids += self._question.opens * within
        return ids + frame.opens + self._tokenizer.encode(self._plain(text)) + frame.closes

    def opens_question(self, system: str) -> bool:
        """Whether the preamble of a session with this system text has already opened the first question."""
        return self._format.system_in_question and bool(system.strip() or self._format.default_system)

    def head(self, passage: Sequence[int], question: str, *, opened: bool = False) -> list[int]:
        """A question with its passage's tokens, and the tag that opens the reply; `opened` as `opens_question` says."""
        frame = _Frame([], "", self._question.closes) if opened else self._question
        asked = self._content(question, self._lead_behind if passage and self._inside else frame.lead)
        around = self._opened_background if opened else self._background
        background = [*around.opens, *passage, *around.closes] if passage else []
        match self._format.background_place:
            case Place.BEFORE:
                ids = [*background, *frame.opens, *asked, *frame.closes]
            case Place.INSIDE:
                ids = [*frame.opens, *background, *asked, *frame.closes]
            case Place.AFTER:
                ids = [*frame.opens, *asked, *frame.closes, *background]
        return ids + self._reply.opens

    def reply(self, text: str) -> list[int]:
        """A reply and what closes it."""
        return self._content(text, self._reply.lead) + self._reply.closes

    def begun(self, text: str) -> tuple[int, ...]:
        """A reply's first words, with nothing that closes it."""
        return tuple(self._content(text, self._reply.lead))

    def as_written(self, text: str) -> list[int]:
        """A text that stands for itself."""
        return self._tokenizer.encode(self._neutralise(text[: self._max_chars]))

    def passage(self, texts: Sequence[str], limit: int) -> tuple[list[int], int]:
        """The texts on one line, cut to at most `limit` tokens, and how many of the texts have a part in them.

        The cut is after a sentence or at least a word if possible.
        """
        texts = self._numbered(texts)
        line = self._one_line(texts)
        ids, ends = self._tokenizer.encode_with_ends(line)
        if len(ids) > limit:
            ids = ids[: bisect_right(ends, _cut(line, ends, limit))]
        return ids, self._num_texts_before(texts, ends[len(ids) - 1] if ids else 0)

    def passage_again(self, texts: Sequence[str], num_tokens: int) -> list[int]:
        """What `passage` returned when it returned `num_tokens` tokens."""
        return self._tokenizer.encode(self._one_line(self._numbered(texts)))[:num_tokens]

    def _numbered(self, texts: Sequence[str]) -> Sequence[str]:
        if len(texts) < 2 or not self._format.numbers_passages:
            return texts
        return [f"[{number}] {text}" for number, text in enumerate(texts, 1)]

    def _num_texts_before(self, texts: Sequence[str], end: int) -> int:
        """How many of the texts begin before character `end` of their line."""
        before = range(len(texts) + 1)
        return next(count for count in before if count == len(texts) or len(self._one_line(texts[:count])) >= end)

    def _one_line(self, texts: Sequence[str]) -> str:
        plain = self._plain(" ".join(word for text in texts for word in text.split()))
        return f"{self._background.lead}{plain}" if plain else ""

    def _content(self, text: str, lead: str) -> list[int]:
        encoded = self._remembered if len(text) <= _LONGEST_KEPT else self._encoded
        return list(encoded(text, lead))

    def _encoded(self, text: str, lead: str) -> tuple[int, ...]:
        plain = self._plain(text)
        return tuple(self._tokenizer.encode(f"{lead}{plain}")) if plain else ()

    def _frame(self, pair: tuple[str, str]) -> _Frame:
        opens, closes = pair
        lead = _blanks_at_end(opens)
        return _Frame(self._structure(opens.removesuffix(lead)), lead, self._structure(closes))

    def _structure(self, text: str) -> list[int]:
        """The ids of a format's string, line by line, so that they do not depend on what stands on the next line."""
        text = text.replace("{bos}", self._tokenizer.bos).replace("{eos}", self._tokenizer.eos)
        return [token for line in text.splitlines(keepends=True) for token in self._line(line)]

    def _plain(self, text: str) -> str:
        """`text` cut and neutralised; blanks go before the cut, never after it, so that what is cut is too long."""
        return self._neutralise(text.strip()[: self._max_chars])


def _end_tokens(chat_format: ChatFormat) -> tuple[str, ...]:
    """What ends a reply and may be one token; of its ends that are none, only the text is looked for."""
    return tuple(dict.fromkeys((*chat_format.end_tokens, *chat_format.ends)))


def _blanks_at_end(text: str) -> str:
    return text[len(text.rstrip(" ")) :]


def _cut(text: str, ends: list[int], limit: int) -> int:
    """Where to cut `text` so that at most `limit` tokens stay, given where each token's characters end."""
    if limit == 0:
        return 0
    longest = ends[limit - 1] if ends[limit] > ends[limit - 1] else ends[limit - 1] - 1  # no half characters
    sentence = max((match.end() for match in _SENTENCE_END.finditer(text, 0, longest + 1)), default=0)
    word = longest if text[longest].isspace() else text.rfind(" ", 0, longest)
    return next((place for place in (sentence, word) if longest / 2 <= place <= longest), longest)
