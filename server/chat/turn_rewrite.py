"""A question that leans on its conversation, written out by the chat model, for models that can."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from functools import partial

from server import wire
from server.chat.records.turn_records import Session, Turn
from server.chat.reply.stream import ReplyOrder, ReplyStream, deadline_passed
from server.chat.turn_in_progress import OpenTurn
from server.chat.turn_prompt import TurnPrompts
from server.cut_off import cut_off
from server.errors import ServiceError

_NUM_TURNS = 3  # of the conversation, the newest
_REPLY_CHARS = 240  # of each of their replies
_NUM_TOKENS = 48
_MOST_CHARS = 300  # of a question written out; what is longer is no question
_QUESTION = """\
Rewrite the last question so that it names who or what it is about. Write only the question.

Q: Who wrote Hamlet?
A: Hamlet was written by William Shakespeare.
Q: when was he born
Rewritten: When was William Shakespeare born?

Q: What is the capital of Peru?
A: The capital of Peru is Lima.
Q: And how many people live there?
Rewritten: How many people live in Lima, the capital of Peru?

{told}Q: {question}
Rewritten:"""

log = logging.getLogger(__name__)


class StandaloneQuestions:
    """Has a question of a conversation written out. A request to the engine like any other, with a deadline; what is
    late, fails, is blocked or is no question is left out, and the search goes by the conversation as it does without.
    """

    def __init__(
        self, start_reply: Callable[[ReplyOrder], ReplyStream], prompts: TurnPrompts, deadline_s: float
    ) -> None:
        self._start_reply = start_reply
        self._prompts = prompts
        self._deadline_s = deadline_s

    def of(self, turn: OpenTurn) -> str | None:
        """The question of `turn` as it would be asked without the conversation; None where there is none to be had."""
        told = [each for each in turn.session.turns if not each.finish_reason.startswith("moderated")][-_NUM_TURNS:]
        if not told:
            return None
        started = time.monotonic()
        try:
            found = self._written_out(turn, told)
        except ServiceError as error:
            log.info("rewrite.failed id=%s error=%s", turn.request.request_id, error.code)
            return None
        ms = (time.monotonic() - started) * 1000
        log.info("rewrite.end id=%s chars=%d ms=%d", turn.request.request_id, len(found or ""), ms)
        return found

    def _written_out(self, turn: OpenTurn, told: Sequence[Turn]) -> str | None:
        text = _QUESTION.format(told="".join(map(_lines, told)), question=_line(turn.request.text))
        alone = Session(turn.session.session_id, turn.session.created_at)
        prompt = self._prompts.about(alone, text, _NUM_TOKENS, system="")
        deadline_s = min(self._deadline_s, turn.remaining_s)
        request = wire.Generate(
            request_id=f"rewrite-{turn.request.request_id}-{time.monotonic_ns():x}",
            prompt=prompt.token_ids,
            sampling=self._prompts.ends_with_reply(wire.Sampling(max_new_tokens=_NUM_TOKENS, temperature=0.0)),
            deadline_s=deadline_s,
            caller=turn.request.caller,
        )
        reply = self._start_reply(ReplyOrder(request, turn.request.text, piecewise=False, deadline_s=deadline_s))
        with cut_off(time.monotonic() + deadline_s, partial(reply.cancel, deadline_passed())):
            for _ in reply.pieces():
                pass
        verdict = reply.verdict
        is_whole = verdict.blocked is None and verdict.finished.reason in ("stop", "length")
        return _question_in(verdict.text) if is_whole else None


def _lines(turn: Turn) -> str:
    return f"Q: {_line(turn.user)}\nA: {_line(turn.reply)[:_REPLY_CHARS]}\n"


def _line(text: str) -> str:
    return " ".join(text.split())


def _question_in(reply: str) -> str | None:
    """The first line of a reply, as far as it is a question that may be searched for."""
    first = _line(reply.strip().partition("\n")[0]).removeprefix("Rewritten:").strip(' "')
    return first if 0 < len(first) <= _MOST_CHARS else None
