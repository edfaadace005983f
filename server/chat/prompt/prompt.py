"""From a session, passages and a question to the token ids that the chat model reads.

    Current Date: 2023-03-10
    Current Time: 14:05:00 PM UTC

    Background: a passage of the first question, where there was one
    <human>: the first question
    <bot>: its reply
    <human>: the new question
    <bot>:

A stored turn keeps its passage, so a later prompt repeats the earlier one to the letter and its keys and values are
reused. A moderated turn is left out of later prompts: the model never answered it, what was refused must not steer
later replies, and a small model that reads an override message repeats it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from server.chat.prompt.chat_format import OPENCHATKIT, ChatFormat
from server.chat.prompt.pieces import PromptPieces
from server.chat.prompt.tokenizer import ChatTokenizer
from server.chat.prompt.window import TurnSize, first_kept
from server.chat.records.turn_records import Turn
from server.errors import ErrorCode, ServiceError

MIN_PASSAGE_TOKENS = 16  # a shorter piece of a passage says nothing
_SHORTEST_TURN_TOKENS = 8


@dataclass(frozen=True)
class Prompt:
    """The ids and what they are made of.

    `num_dropped_turns` counts from the session's first turn; only the first `num_passages` of the passages stand in
    the prompt, the last of them perhaps not to its end.
    """

    token_ids: tuple[int, ...]
    num_dropped_turns: int
    num_preamble_tokens: int
    num_passages: int
    num_passage_tokens: int
    num_question_tokens: int


@dataclass(frozen=True)
class _Encoded:
    """A stored turn as token ids."""

    turn: Turn
    head: list[int]
    tail: list[int]

    @property
    def size(self) -> TurnSize:
        return TurnSize(len(self.head), len(self.tail))


class PromptBuilder:
    """Builds prompts for one model, in its format. Thread-safe."""

    def __init__(
        self,
        tokenizer: ChatTokenizer,
        max_context_tokens: int,
        passage_tokens: int,
        chat_format: ChatFormat = OPENCHATKIT,
    ) -> None:
        self.chat_format = chat_format
        self._pieces = PromptPieces(tokenizer, chat_format, max_context_tokens)
        self.end_token_ids = self._pieces.end_token_ids
        self._window = max_context_tokens
        self._passage_tokens = passage_tokens

    def check(self, question: str, max_new_tokens: int, system: str = "") -> None:
        """Refuse at the door what `build` would refuse later, but for a token or two of the session's date.

        Raises:
            ServiceError: PROMPT_TOO_LONG with the counts.
        """
        self._room(self._pieces.preamble(0.0, system), self._pieces.head((), question), max_new_tokens)

    def reserved(self, begun_at: float, asked: tuple[str, str, str], max_new_tokens: int) -> int:
        """Tokens to keep free for a reply that may be cut to the room that is left: no more than half the window, so
        that a large wish does not push out the conversation, and no more than system text, question and the words that
        the reply begins with (`asked`) leave.
        """
        system, question, begun = asked
        taken = len(self._pieces.preamble(begun_at, system)) + len(self._pieces.head((), question))
        left = self._window - taken - len(self.begun(begun))
        return max(1, min(max_new_tokens, self._window // 2, left))

    def begun(self, text: str) -> tuple[int, ...]:
        """The tokens of a reply's first words, behind the prompt; none for no words."""
        return self._pieces.begun(text)

    def as_written(self, text: str, max_new_tokens: int) -> Prompt:
        """`text` alone as a prompt, without roles. Raises ServiceError PROMPT_TOO_LONG."""
        ids = self._pieces.as_written(text)
        self._room([], ids, max_new_tokens)
        return Prompt(tuple(ids), 0, 0, num_passages=0, num_passage_tokens=0, num_question_tokens=len(ids))

    def room_for_reply(self, prompt: Prompt) -> int:
        """Tokens that a reply to `prompt` can have."""
        return self._window - len(prompt.token_ids)

    def build(
        self,
        session_created_at: float,
        turns: Sequence[Turn],
        passages: Sequence[str],
        question: str,
        max_new_tokens: int,
        system: str = "",
    ) -> Prompt:
        """The prompt, at most the window less `max_new_tokens` long.

        Where not everything fits, the oldest turns go first, then the end of the passage.

        Raises:
            ServiceError: PROMPT_TOO_LONG with the counts, when the question alone does not fit.
        """
        preamble = self._pieces.preamble(session_created_at, system)
        asked = self._pieces.head((), question)
        room = self._room(preamble, asked, max_new_tokens)
        passage, num_passages = self._fitting_passage(passages, room)
        head = self._pieces.head(passage, question)
        kept, num_dropped = self._kept(turns, len(head), self._window - len(preamble) - max_new_tokens)
        if self._pieces.opens_question(system):
            kept[:1] = [self._encode(each.turn, opened=True) for each in kept[:1]]
            head = head if kept else self._pieces.head(passage, question, opened=True)
        history = [token for turn in kept for token in (*turn.head, *turn.tail)]
        return Prompt(
            token_ids=(*preamble, *history, *head),
            num_dropped_turns=num_dropped,
            num_preamble_tokens=len(preamble),
            num_passages=num_passages,
            num_passage_tokens=len(passage),
            num_question_tokens=len(asked),
        )

    def _room(self, preamble: list[int], asked: list[int], max_new_tokens: int) -> int:
        """Tokens left for passage and history."""
        needed = len(preamble) + len(asked) + max_new_tokens
        if needed <= self._window:
            return self._window - needed
        too_long = len(preamble) + len(asked) >= self._window
        raise ServiceError(
            ErrorCode.PROMPT_TOO_LONG,
            f"the question takes {len(asked)} tokens{' or more' if len(asked) > self._window else ''}, the preamble "
            f"{len(preamble)} and max_new_tokens {max_new_tokens}, together {needed}; the window is {self._window}",
            field="inputs" if too_long else "parameters.max_new_tokens",
        )

    def _fitting_passage(self, passages: Sequence[str], room: int) -> tuple[list[int], int]:
        limit = min(self._passage_tokens, room - self._pieces.num_background_tokens)
        if limit < MIN_PASSAGE_TOKENS:
            return [], 0
        ids, num_passages = self._pieces.passage(passages, limit)
        # Only those that fit are stored and written again; one alone has no number.
        return self._pieces.passage(passages[:1], limit) if num_passages == 1 < len(passages) else (ids, num_passages)

    def _kept(self, turns: Sequence[Turn], next_head: int, room: int) -> tuple[list[_Encoded], int]:
        """The turns that stay, and the number of the newest one that does not."""
        num_dropped = max((turn.usage.dropped_turns for turn in turns), default=0)
        read = [turn for turn in self._worth_encoding(turns) if turn.turn > num_dropped and not _is_moderated(turn)]
        settled = max((index + 1 for index, turn in enumerate(read) if _is_recorded(turn)), default=0)
        encoded = [self._encode(turn) for turn in read]
        start = first_kept([turn.size for turn in encoded], 0, settled, next_head=next_head, room=room)
        if start > 0:
            num_dropped = encoded[start].turn.turn - 1 if start < len(encoded) else turns[-1].turn
        return encoded[start:], num_dropped

    def _worth_encoding(self, turns: Sequence[Turn]) -> Sequence[Turn]:
        """All turns, but of a very long history only the newest, from a start that moves in large steps, too."""
        step = 2 * self._window // _SHORTEST_TURN_TOKENS
        return turns[max(0, len(turns) // step - 1) * step :]

    def _encode(self, turn: Turn, *, opened: bool = False) -> _Encoded:
        texts = [source.text for source in turn.sources]
        if _is_recorded(turn):
            passage = self._pieces.passage_again(texts, turn.usage.passage_tokens)
        else:
            passage, _ = self._pieces.passage(texts, self._passage_tokens)
        head = self._pieces.head(passage, turn.user, opened=opened)
        return _Encoded(turn, head, self._pieces.reply(turn.reply))


def _is_recorded(turn: Turn) -> bool:
    """Whether the turn says how its prompt was cut; a turn that a client brings along does not."""
    return turn.usage.prompt_tokens > 0


def _is_moderated(turn: Turn) -> bool:
    return turn.finish_reason.startswith("moderated")
