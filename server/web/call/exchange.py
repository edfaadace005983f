"""One HTTP call from its first line to its last byte: its id, its place, what is counted and logged of it."""

from __future__ import annotations

import logging
import re
import secrets
import time
from collections.abc import Callable, Sequence

from flask import Request
from werkzeug.datastructures import Headers

from server.chat.records.turn_records import TurnRequest, TurnResult
from server.errors import ErrorCode
from server.web.call.metrics import Metrics
from server.web.call.tracing import EndedCall, Tracer, trace_id
from server.web.keys.doorkeeper import Caller
from server.web.limits.concurrency import Ticket
from server.web.limits.slow_client import has_left

log = logging.getLogger("server.web.access")

DOOR = "door"
_SAFE_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,63}")
CHARS_OF_TOKEN = 4  # about; what a turn came to is known at its end
_QUIET = {"/ping", "/health", "/metrics"}  # asked every few seconds, logged at DEBUG


def request_id_of(headers: Headers) -> str:
    """The client's id when it is made of safe characters, else a new one. SageMaker passes on only its own header."""
    for header in ("X-Request-Id", "X-Amzn-SageMaker-Inference-Id"):
        given = headers.get(header, "")
        if _SAFE_ID.fullmatch(given):
            return given
    return new_request_id()


def new_request_id() -> str:
    """One that nobody else has."""
    return f"req-{secrets.token_hex(12)}"


class Exchange:
    """Lives as long as one call. Not shared between threads but for `note_result`."""

    def __init__(self, request: Request, metrics: Metrics, tracer: Tracer | None = None) -> None:
        self.request_id = request_id_of(request.headers)
        self.route = "unmatched" if request.url_rule is None else request.url_rule.rule
        self.is_openai = request.path.startswith("/v1/")
        self.code = ""  # the error's word, where it ended in one
        self.ticket: Ticket | None = None
        self.caller = Caller()
        self._is_inside = False  # whether the caller's share counts this call
        self._num_spent = 0  # tokens that are no turn's
        self._reserved: dict[str, int] = {}  # tokens by the turn they are set aside for
        self._method = request.method
        self._environ = request.environ
        self._tracer = tracer
        self._traceparent = request.headers.get("traceparent", "")
        self._began_at = time.time()
        self._metrics = metrics
        self._started = time.monotonic()
        self._first_text_s: float | None = None
        self._results: list[TurnResult] = []
        self.door_s: float | None = None  # until the turn began: reading and checking the request

    def client_has_left(self) -> bool:
        """Whether nobody waits for the answer any more; from any thread."""
        return has_left(self._environ)

    @property
    def turn_taker(self) -> str:
        """As whom the call waits in the engine's queue: many inputs of one call, or calls of one key, take turns with
        those of others.
        """
        return self.caller.turn_taker or self.request_id

    @property
    def elapsed_s(self) -> float:
        """Seconds since the call began."""
        return time.monotonic() - self._started

    def enter(self, caller: Caller) -> None:
        """The call is `caller`'s. Raises ServiceError RATE_LIMITED when it has too many."""
        self.caller = caller
        if caller.share is not None:
            caller.share.enter()
            self._is_inside = True

    def reserve(self, turns: Sequence[TurnRequest]) -> None:
        """Set aside what `turns` may take at most, before any of them begins.

        Raises:
            ServiceError: RATE_LIMITED.
        """
        share = self.caller.share
        if share is None:
            return
        wanted = {turn.request_id: _most_tokens(turn) for turn in turns}
        left = share.reserve(sum(wanted.values()))
        for turn_id, num_tokens in wanted.items():
            self._reserved[turn_id] = min(num_tokens, left)
            left -= self._reserved[turn_id]

    def spend(self, num_tokens: int) -> None:
        """Tokens of this call that are no turn's."""
        self._num_spent += num_tokens
        if self.caller.share is not None:
            self.caller.share.settle(0, num_tokens)

    def turn_id(self, index: int = 0) -> str:
        """An id for one turn, unlike every other's even when clients choose the same request id."""
        if self.door_s is None:
            self.door_s = self.elapsed_s
            self._metrics.phase(DOOR, self.door_s)
        return f"{self.request_id}.{index}.{secrets.token_hex(4)}"

    def note_text(self) -> None:
        """Text is about to leave."""
        if self._first_text_s is None:
            self._first_text_s = self.elapsed_s
            self._metrics.first_text(self.route, self._first_text_s)

    def note_result(self, result: TurnResult) -> None:
        """A turn of this call was answered."""
        self._results.append(result)
        reserved = self._reserved.pop(result.request_id, None)
        if reserved is not None and self.caller.share is not None:
            self.caller.share.settle(reserved, result.usage.prompt_tokens + result.usage.completion_tokens)
        self._metrics.turn_ended(result)

    def end(self, status: int) -> None:
        """The last byte was written, or the client has left."""
        if self.ticket is not None:
            self.ticket.leave()
        self._leave_share()
        seconds = self.elapsed_s
        self._metrics.request_ended(self.route, status, self.code, seconds)
        if self.caller.name:
            self._metrics.key_used(self.caller.name, self._num_spent + sum(self._token_sums()[::2]))
        level = logging.DEBUG if self.route in _QUIET and status == 200 else logging.INFO
        log.log(
            level,
            "request.end id=%s trace=%s method=%s route=%s status=%d code=%s session=%s reason=%s turns=%d prompt=%d "
            "cached=%d new=%d sources=%d first_text_ms=%s ms=%d key=%s",
            self.request_id,
            trace_id(self._traceparent),
            self._method,
            self.route,
            status,
            self.code or "-",
            self._of_one(lambda each: each.session_id),
            self._of_one(lambda each: each.finish_reason),
            len(self._results),
            *self._token_sums(),
            sum(len(each.sources) for each in self._results),
            "-" if self._first_text_s is None else round(self._first_text_s * 1000),
            round(seconds * 1000),
            self.caller.name or "-",
        )

        if self._tracer is not None:
            self._tracer.ended(self._ended(status))

    def _leave_share(self) -> None:
        """What refused turns would have taken is given back; who leaves in the middle of one has had it."""
        share = self.caller.share
        if share is None or not self._is_inside:
            return
        self._is_inside = False
        share.leave()
        if self.code and self.code != ErrorCode.CANCELLED:
            share.settle(sum(self._reserved.values()), 0)
        self._reserved.clear()

    def _ended(self, status: int) -> EndedCall:
        attributes = {
            "http.request.method": self._method,
            "http.route": self.route,
            "http.response.status_code": status,
            "openchatkit.request_id": self.request_id,
            "gen_ai.usage.input_tokens": self._token_sums()[0],
            "gen_ai.usage.output_tokens": self._token_sums()[2],
        }
        return EndedCall(
            f"{self._method} {self.route}",
            self._traceparent,
            self._began_at,
            attributes=attributes,
            results=self._results,
        )

    def _of_one(self, read: Callable[[TurnResult], str]) -> str:
        """A word of the only turn; a dash when there is none or when there are many."""
        return (read(self._results[0]) or "-") if len(self._results) == 1 else "-"

    def _token_sums(self) -> tuple[int, int, int]:
        usages = [each.usage for each in self._results]
        return (
            sum(each.prompt_tokens for each in usages),
            sum(each.cached_tokens for each in usages),
            sum(each.completion_tokens for each in usages),
        )


def _most_tokens(turn: TurnRequest) -> int:
    """About what a turn takes at most, as far as that shows in the request: stored turns and passages do not."""
    brought = sum(len(each.user) + len(each.reply) for each in turn.history or ())
    num_chars = len(turn.text) + len(turn.system) + brought
    return num_chars // CHARS_OF_TOKEN + turn.sampling.max_new_tokens
