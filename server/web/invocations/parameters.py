"""The `parameters` of an invocation, and how the next token is chosen from them."""

from __future__ import annotations

from typing import Annotated, TypeVar

import msgspec
from msgspec import Meta

from server.web.limits.table import MAX_STOP_STRINGS
from server.web.reading.struct_reader import invalid
from server.web.sessions.schema import SessionId
from server.wire import Sampling

N = TypeVar("N", int, float)

GREEDY_BELOW = 1e-5  # a temperature so small would divide the logits out of their range

StopString = Annotated[str, Meta(min_length=1, max_length=256)]
Stop = StopString | Annotated[list[StopString], Meta(max_length=MAX_STOP_STRINGS)]
Temperature = Annotated[float, Meta(ge=0, le=2, description="0 is greedy.")]
TopP = Annotated[float, Meta(gt=0, le=1)]
TopK = Annotated[int, Meta(ge=0, le=1_000_000, description="0 means all tokens.")]
MaxNewTokens = Annotated[int, Meta(ge=1, le=1_000_000)]
RepetitionPenalty = Annotated[float, Meta(gt=0, le=100)]
Seed = Annotated[
    int, Meta(ge=-(2**63), le=2**63 - 1, description="The same seed gives the same text whatever else is served.")
]
NoRetrieval = Annotated[bool, Meta(description="true: no passages are looked up for this question.")]
DoSample = Annotated[
    bool,
    Meta(
        description="true: draw the next token; false: take the likeliest, whatever temperature, top_k and top_p say. "
        "Absent, tokens are drawn when temperature, top_k or top_p is given. A temperature of 0 is always greedy."
    ),
]


class Parameters(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How one invocation is answered. null means the same as absent."""

    session_id: SessionId | None = None
    no_retrieval: NoRetrieval | None = None
    temperature: Temperature | None = None
    top_k: TopK | None = None
    top_p: TopP | None = None
    max_new_tokens: MaxNewTokens | None = None
    do_sample: DoSample | None = None
    repetition_penalty: RepetitionPenalty | None = None
    stop: Stop | None = None
    seed: Seed | None = None


def sampling(given: Parameters, default_new_tokens: int) -> Sampling:
    """What the engine is asked for; `default_new_tokens` when the request names no number."""
    if not _draws(given):
        temperature, top_k, top_p = 1.0, 0, 1.0
    else:
        temperature = _default(given.temperature, 1.0)
        top_k, top_p = _default(given.top_k, 0), _default(given.top_p, 1.0)
    return Sampling(
        max_new_tokens=_default(given.max_new_tokens, default_new_tokens),
        do_sample=_draws(given),
        temperature=temperature,
        top_k=top_k,
        top_p=top_p,
        repetition_penalty=_default(given.repetition_penalty, 1.0),
        stop=_stop_strings(given.stop),
        seed=given.seed,
    )


def check_window(max_new_tokens: int | None, max_context_tokens: int | None, field: str) -> None:
    """Refuse an answer longer than the model's window. Raises ServiceError."""
    if max_new_tokens is not None and max_context_tokens is not None and max_new_tokens >= max_context_tokens:
        raise invalid(field, max_new_tokens, f"must be below the model's window of {max_context_tokens} tokens")


def _draws(given: Parameters) -> bool:
    if given.temperature is not None and given.temperature < GREEDY_BELOW:
        return False
    if given.do_sample is not None:
        return given.do_sample
    return any(each is not None for each in (given.temperature, given.top_k, given.top_p))


def _default(value: N | None, otherwise: N) -> N:
    return otherwise if value is None else value


def _stop_strings(stop: str | list[str] | None) -> tuple[str, ...]:
    if stop is None:
        return ()
    return (stop,) if isinstance(stop, str) else tuple(stop)
