"""What a conversation's forgotten turns said: summed up in the background when the window moves, for later prompts."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import msgspec

from server import wire
from server.chat.prompt.prompt import Prompt
from server.chat.records.turn_records import Session, Turn
from server.chat.reply.stream import ReplyOrder, ReplyStream
from server.chat.store.store import Store
from server.chat.turn_in_progress import OpenTurn
from server.chat.turn_prompt import TurnPrompts
from server.errors import ServiceError

_MOST_WAITING = 16  # conversations; another one is summed up after its next turn
_DEADLINE_S = 60.0
_NEWEST = 8  # turns, one of which has a summary that was kept while a turn was under way
_QUESTION = (
    "Summarize our conversation so far in a few short sentences. "
    "Keep the names, numbers and facts that a later question may be about."
)

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Order:
    """The turns of one conversation that are to be summed up, and the turn with which that is kept."""

    session: Session
    turn: int
    system: str
    owner: str
    caller: str

    @property
    def name(self) -> tuple[str, str]:
        """Of the conversation."""
        return self.owner, self.session.session_id


class TurnSummaries:
    """Sums up, one conversation after the other, in a thread of its own: no turn waits for it.

    A summary is written by the chat model and judged as any reply; one that is blocked, or fails, is not kept, and the
    next turn of the conversation tries again.
    """

    def __init__(
        self,
        start_reply: Callable[[ReplyOrder], ReplyStream],
        prompts: TurnPrompts,
        store: Store,
        *,
        ending: threading.Event,
        num_tokens: int,
    ) -> None:
        """`num_tokens` a summary has at most; 0: nothing is summed up. Nor is anything once the server is `ending`."""
        self._start_reply = start_reply
        self._prompts = prompts
        self._store = store
        self._ending = ending
        self._num_tokens = num_tokens
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="summary")
        self._waiting: set[tuple[str, str]] = set()
        self._lock = threading.Lock()

    def consider(self, turn: OpenTurn) -> None:
        """Sum up what `turn`, which is stored, had no room for, where no summary has it yet."""
        num_dropped = turn.usage.dropped_turns
        if not self._num_tokens or turn.claim is None or num_dropped <= turn.session.num_summarised:
            return
        forgotten = [each for each in turn.session.turns if turn.session.num_summarised < each.turn <= num_dropped]
        if not forgotten:  # erased
            return
        session = msgspec.structs.replace(turn.session, turns=tuple(map(_unmarked, forgotten)))
        system = self._prompts.system_of(turn)
        order = _Order(session, turn.claim.turn, system, owner=turn.request.owner, caller=turn.request.caller)
        with self._lock:
            if order.name in self._waiting or len(self._waiting) >= _MOST_WAITING or self._ending.is_set():
                return
            self._waiting.add(order.name)
        self._thread.submit(self._sum_up, order)

    def _sum_up(self, order: _Order) -> None:
        started = time.monotonic()
        try:
            if self._is_kept(order):
                return
            text = self._summary(order)
            kept = bool(text) and self._keep(order, text)
        except ServiceError as error:
            log.warning("summary.failed turn=%d error=%s", order.turn, error.code)
        except Exception:  # the edge of a thread
            log.exception("summary.failed turn=%d", order.turn)
        else:
            ms = (time.monotonic() - started) * 1000
            log.info("summary.end turns=%d chars=%d kept=%d ms=%d", len(order.session.turns), len(text), kept, ms)
        finally:
            with self._lock:
                self._waiting.discard(order.name)

    def _summary(self, order: _Order) -> str:
        """The model's words, "" where they are blocked or cut short by the end of the server."""
        prompt = self._prompts.about(order.session, _QUESTION, self._num_tokens, system=order.system)
        reply = self._start_reply(self._reply_order(order, prompt))
        for _ in reply.pieces():
            pass
        verdict = reply.verdict
        ended = verdict.blocked is None and verdict.finished.reason in ("stop", "length")
        return " ".join(verdict.text.split()) if ended else ""

    def _reply_order(self, order: _Order, prompt: Prompt) -> ReplyOrder:
        request = wire.Generate(
            request_id=f"summary-{order.turn}-{time.monotonic_ns():x}",
            prompt=prompt.token_ids,
            sampling=self._prompts.ends_with_reply(wire.Sampling(max_new_tokens=self._num_tokens)),
            deadline_s=_DEADLINE_S,
            caller=order.caller,
        )
        return ReplyOrder(request, _QUESTION, piecewise=False, deadline_s=_DEADLINE_S)

    def _is_kept(self, order: _Order) -> bool:
        """Whether the turns were summed up since the conversation was loaded for the turn."""
        found = self._store.of(order.owner).load(order.session.session_id, _NEWEST)
        return found is not None and found.num_summarised >= order.session.turns[-1].turn

    def _keep(self, order: _Order, text: str) -> bool:
        numbers = [each.turn for each in order.session.turns]
        return self._store.of(order.owner).give_summary(order.session.session_id, order.turn, text, numbers)


def _unmarked(turn: Turn) -> Turn:
    """`turn` without a word of those that its own prompt had no room for: they are no part of this one."""
    return msgspec.structs.replace(turn, usage=msgspec.structs.replace(turn.usage, dropped_turns=0))
