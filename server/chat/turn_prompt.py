"""The prompt of a turn: what instructions, conversation, passages and question come to in the model's window."""

from __future__ import annotations

from dataclasses import replace

import msgspec

from server import wire
from server.chat.prompt.prompt import Prompt, PromptBuilder
from server.chat.records.turn_records import Session, TurnRequest
from server.chat.store.rows import check_question
from server.chat.turn_in_progress import OpenTurn
from server.errors import ErrorCode, ServiceError

_SUMMARY = "What was said before:"


class TurnPrompts:
    """Builds the prompts of turns."""

    def __init__(self, builder: PromptBuilder, system_prompt: str = "") -> None:
        """`system_prompt` are the deployment's instructions, before anybody's own."""
        self._builder = builder
        self._system_prompt = system_prompt

    def check(self, request: TurnRequest) -> None:
        """Refuse a question that does not fit the window, or is too large to be stored.

        Raises:
            ServiceError: INVALID_FIELD or PROMPT_TOO_LONG.
        """
        if not request.text:
            raise ServiceError(ErrorCode.INVALID_FIELD, "the question must hold visible text", field="inputs")
        if request.as_written:
            self._builder.as_written(request.text, 1 if request.clamp else request.sampling.max_new_tokens)
            return
        least = 1 if request.clamp else request.sampling.max_new_tokens
        system = self.instructions(request, "")
        self._builder.check(request.text, least + len(self._builder.begun(request.begun)), system)
        if request.history is None:
            check_question(request.text)

    def instructions(self, request: TurnRequest, of_session: str) -> str:
        """What the deployment says, then what the request says, or the session where the request says nothing."""
        return "\n\n".join(filter(None, (self._system_prompt, request.system or of_session)))

    def build(self, turn: OpenTurn) -> Prompt:
        """The token ids for the reply to `turn`, as far as it has come: its passages are there or not yet.

        Raises:
            ServiceError: PROMPT_TOO_LONG.
        """
        request = turn.request
        if request.as_written:
            return self._builder.as_written(request.text, self._reserved(turn, ""))
        try:
            return self._built(turn, self.system_of(turn))
        except ServiceError:
            if not turn.session.summary:
                raise
            return self._built(turn, turn.system)  # a long question goes before what is only a summary

    def _built(self, turn: OpenTurn, system: str) -> Prompt:
        request = turn.request
        begun = self._builder.begun(request.begun)
        prompt = self._builder.build(
            turn.session.created_at,
            turn.session.turns,
            [each.text for each in turn.passages],
            request.text,
            self._reserved(turn, system) + len(begun),
            system="\n".join(filter(None, (system, turn.instructions))),
        )
        return replace(prompt, token_ids=(*prompt.token_ids, *begun))

    def system_of(self, turn: OpenTurn) -> str:
        """The instructions, and what is left of the turns that the window has no room for."""
        summary = turn.session.summary
        return "\n".join(filter(None, (turn.system, summary and f"{_SUMMARY} {summary}")))

    def about(self, session: Session, question: str, max_new_tokens: int, system: str) -> Prompt:
        """A question about a conversation, which nobody but this server asks. Raises ServiceError PROMPT_TOO_LONG."""
        return self._builder.build(session.created_at, session.turns, [], question, max_new_tokens, system=system)

    def ends_with_reply(self, sampling: wire.Sampling) -> wire.Sampling:
        """`sampling` that ends where the model's reply does."""
        # A reply that must not end is written on behind strings that would end it; what follows them is not shown.
        ends = () if sampling.ignore_eos else self._builder.chat_format.ends
        stop = (*ends, *sampling.stop)
        return msgspec.structs.replace(sampling, stop=stop, stop_token_ids=self._builder.end_token_ids)

    def without_unseen_turns(self, turn: OpenTurn) -> Session:
        """The session without the turns that never enter the prompt, even where no passage takes room from them."""
        return _without_oldest(turn.session, self.build(turn).num_dropped_turns)

    def _reserved(self, turn: OpenTurn, system: str) -> int:
        """Tokens of the window that are kept free for the reply."""
        request, wish = turn.request, turn.request.sampling.max_new_tokens
        if not request.clamp:
            return wish
        if request.as_written:
            return 1
        return self._builder.reserved(turn.session.created_at, (system, request.text, request.begun), wish)

    def sampling(self, turn: OpenTurn, prompt: Prompt) -> wire.Sampling:
        """As asked for, with the ends of a reply and no more tokens than are left."""
        asked = turn.request.sampling
        room = self._builder.room_for_reply(prompt)
        most = min(asked.max_new_tokens, room) if turn.request.clamp else asked.max_new_tokens
        least = min(asked.min_tokens, most) if turn.request.clamp else asked.min_tokens
        bounded = msgspec.structs.replace(asked, max_new_tokens=most, min_tokens=least)
        return bounded if turn.request.as_written else self.ends_with_reply(bounded)


def _without_oldest(session: Session, num_dropped: int) -> Session:
    """`session` without the turns that never enter its prompt; the newest one tells how many are missing."""
    kept = [turn for turn in session.turns if turn.turn > num_dropped]
    if kept and num_dropped:
        usage = msgspec.structs.replace(kept[-1].usage, dropped_turns=num_dropped)
        kept[-1] = msgspec.structs.replace(kept[-1], usage=usage)
    return msgspec.structs.replace(session, turns=tuple(kept))
