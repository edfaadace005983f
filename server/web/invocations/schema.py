"""What POST /invocations takes and gives."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from server.chat.records.turn_records import Citation, Source, TurnResult, Usage
from server.web.call.errors import ErrorDetail
from server.web.invocations.parameters import Parameters
from server.web.limits.table import MAX_HISTORY_TURNS, MAX_INPUTS, MAX_QUESTION_CHARS
from server.web.sessions.schema import After, HistoryPage, Limit, Owner, SessionId

Inputs = (
    Annotated[str, Meta(min_length=1, max_length=MAX_QUESTION_CHARS, description="One question.")]
    | Annotated[
        list[Annotated[str, Meta(min_length=1, max_length=MAX_QUESTION_CHARS)]],
        Meta(min_length=1, max_length=MAX_INPUTS, description="Questions of separate conversations."),
    ]
)
Stream = Annotated[
    bool,
    Meta(
        description="true: the answer comes in pieces, as application/jsonlines, or as text/event-stream when Accept "
        "names it. Absent, it is true when Accept names one of the two and not application/json. "
        "A list of inputs cannot be streamed."
    ),
]


class Invocation(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A question, or a list of questions."""

    inputs: Inputs
    parameters: Parameters | None = None
    stream: Stream | None = None


class SessionAction(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """GET or DELETE /sessions/{session_id} for clients that reach /invocations alone."""

    action: Literal["history", "delete"]
    session_id: SessionId
    after: After | None = None  # these two with "history" alone
    limit: Limit | None = None
    owner: Owner | None = None

    @property
    def page(self) -> HistoryPage:
        """Which part of the history is asked for."""
        return HistoryPage(self.after or 0, MAX_HISTORY_TURNS if self.limit is None else self.limit)


class ChatBody(msgspec.Struct, frozen=True):
    """A body of POST /v1/chat/completions, posted here by a gateway that knows one path; answered as it is there."""

    messages: Annotated[list[dict[str, Any]], Meta(min_length=1)]


class RequestType(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename={"request_type": "requestType"}):
    """Open a sticky session, or close the one in X-Amzn-SageMaker-Session-Id; `sticky` reads it."""

    request_type: Literal["NEW_SESSION", "CLOSE"]


class TextJudgement(msgspec.Struct, frozen=True):
    """What the classifier said of one text."""

    label: str
    scores: dict[str, float]  # sum to 1 over the labels
    log_probs: dict[str, float]
    blocked: bool


Timings = Annotated[
    dict[str, float], Meta(description="Seconds by phase: claim, judge, search, first_token, decode, store.")
]


class Answer(msgspec.Struct, frozen=True, omit_defaults=True):
    """One answered question. `outputs` is the reply, or the override message of a moderated turn."""

    outputs: str
    session_id: str
    finish_reason: Literal["stop", "length", "moderated_input", "moderated_output", "deadline", "shutdown"]
    sources: tuple[Source, ...]
    moderation: dict[str, TextJudgement]
    usage: Usage
    request_id: str
    turn: int
    warnings: tuple[str, ...] = ()
    timings: Timings = {}
    citations: tuple[Citation, ...] = ()  # sentences of `outputs` that rest on a source


class FailedInput(msgspec.Struct, frozen=True):
    """Stands in a list's answer for an input that failed while others did not."""

    error: ErrorDetail


class Pieces(msgspec.Struct, frozen=True, omit_defaults=True):
    """One line or event of a stream; an empty piece keeps the connection alive. The sources, where there are any, come
    before the first text.
    """

    outputs: tuple[str, ...]
    sources: tuple[Source, ...] = ()


def invocation_body(result: TurnResult, request_id: str) -> Answer:
    """The body for `result`, under the id that the client knows."""
    return Answer(
        outputs=result.outputs,
        session_id=result.session_id,
        finish_reason=result.finish_reason,  # type: ignore[arg-type]
        sources=result.sources,
        moderation={
            role: TextJudgement(each.label, each.scores, each.log_probs, blocked=each.blocked)
            for role, each in result.moderation.items()
        },
        usage=result.usage,
        request_id=request_id,
        turn=result.turn,
        warnings=result.warnings,
        timings=result.timings,
        citations=result.citations,
    )
