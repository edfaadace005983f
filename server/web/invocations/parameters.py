"""The `parameters` of an invocation: how it is searched for, and how the next token is chosen."""

from __future__ import annotations

from typing import Annotated, Literal, TypeVar

import msgspec
from msgspec import Meta

from server.chat.records.turn_records import SearchWish
from server.chat.services import Services
from server.retrieval.passage_filter import PassageFilter
from server.web.limits.table import (
    MAX_FILTER_CHARS,
    MAX_FILTER_VALUES,
    MAX_LOGIT_BIASES,
    MAX_SEARCH_K,
    MAX_STOP_CHARS,
    MAX_STOP_STRINGS,
    MAX_SYSTEM_CHARS,
)
from server.web.reading.struct_reader import invalid
from server.web.sessions.schema import SessionId
from server.wire import Sampling

NoRetrieval = Annotated[bool, Meta(description='true: the same as retrieval "off".')]
Retrieval = Annotated[
    Literal["off", "auto", "required"],
    Meta(
        description="off: no passages are looked up for this question; auto: those that are relevant, none for small "
        "talk; required: the nearest whatever the question, and no answer without any."
    ),
]
SearchK = Annotated[
    int, Meta(ge=1, le=MAX_SEARCH_K, description="How many passages at most; absent, as the server is set.")
]
Cite = Annotated[bool, Meta(description='true: marks, " [1]", stand behind the sentences that rest on a source.')]
_Value = Annotated[str, Meta(min_length=1, max_length=MAX_FILTER_CHARS)]
_Values = _Value | Annotated[list[_Value], Meta(min_length=1, max_length=MAX_FILTER_VALUES)]


class Filter(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which passages may be given: one of the values of every field that is there."""

    document: Annotated[_Values, Meta(description="Ids or titles.")] | None = None
    section: Annotated[_Values, Meta(description="Headings; those within them count, too.")] | None = None
    url: Annotated[_Values, Meta(description="How the address begins.")] | None = None
    language: Annotated[_Values, Meta(description="Two-letter codes.")] | None = None


class SearchFields(msgspec.Struct, frozen=True, kw_only=True):
    """The fields of a request that has a search."""

    no_retrieval: NoRetrieval | None = None
    retrieval: Retrieval | None = None
    search_k: SearchK | None = None
    filter: Filter | None = None
    cite: Cite | None = None


def searches(given: SearchFields) -> bool:
    """Whether passages are looked up at all. Raises ServiceError when the two fields that say so disagree."""
    said_twice = given.no_retrieval is not None and given.retrieval is not None
    if said_twice and given.no_retrieval != (given.retrieval == "off"):
        rule = f"contradicts no_retrieval={given.no_retrieval}; give one of them"
        raise invalid("parameters.retrieval", given.retrieval, rule)
    return not given.no_retrieval and given.retrieval != "off"


def search_wish(given: SearchFields) -> SearchWish:
    """How they are looked up."""
    return SearchWish(given.search_k, given.retrieval == "required", _passage_filter(given.filter))


def _passage_filter(given: Filter | None) -> PassageFilter | None:
    if given is None:
        return None
    return PassageFilter(*map(_values, (given.document, given.section, given.url, given.language)))


def _values(given: str | list[str] | None) -> tuple[str, ...]:
    if given is None:
        return ()
    return (given,) if isinstance(given, str) else tuple(given)


N = TypeVar("N", int, float)

_MOST_DIGITS = 9
_LEAST_TOP_P = 1e-6  # the engine knows no 0
GREEDY_BELOW = 1e-5  # a temperature so small would divide the logits out of their range

StopString = Annotated[str, Meta(max_length=MAX_STOP_CHARS)]
Stop = StopString | Annotated[list[StopString], Meta(max_length=MAX_STOP_STRINGS)]
Temperature = Annotated[float, Meta(ge=0, le=2, description="0 is greedy.")]
TopP = Annotated[float, Meta(ge=0, le=1, description="0 leaves the likeliest token alone.")]
TopK = Annotated[int, Meta(ge=-1, le=1_000_000, description="0 and -1 mean all tokens.")]
MinP = Annotated[float, Meta(ge=0, le=1, description="Least probability, as a share of the likeliest token's.")]
Penalty = Annotated[float, Meta(ge=-2, le=2)]
LogitBias = Annotated[
    dict[str, Annotated[float, Meta(ge=-100, le=100)]],
    Meta(max_length=MAX_LOGIT_BIASES, description="Token ids, as text, with what is added to their logits."),
]
MinTokens = Annotated[int, Meta(ge=0, le=1_000_000, description="The reply does not end before it has as many.")]
IgnoreEos = Annotated[bool, Meta(description="true: the reply goes on to its length limit.")]
MaxNewTokens = Annotated[int, Meta(ge=1, le=1_000_000)]
RepetitionPenalty = Annotated[float, Meta(gt=0, le=100)]
Seed = Annotated[
    int,
    Meta(
        ge=-(2**63),
        le=2**63 - 1,
        description="The same seed gives the same text, on processors without AMX whatever else is served.",
    ),
]
DoSample = Annotated[
    bool,
    Meta(
        description="true: draw the next token; false: take the likeliest, whatever temperature, top_k and top_p say. "
        "Absent, tokens are drawn when temperature, top_k or top_p is given. A temperature of 0 is always greedy."
    ),
]


ReplacedTurn = Annotated[
    int,
    Meta(
        ge=1,
        le=2**53,
        description="Ask this turn again, or otherwise: the conversation goes on from the turn before it; it and all "
        "behind it are left out from then on.",
    ),
]
SystemText = Annotated[
    str,
    Meta(max_length=MAX_SYSTEM_CHARS, description="Instructions that the session carries from this turn on."),
]


class Parameters(SearchFields, frozen=True, forbid_unknown_fields=True):
    """How one invocation is answered. null means the same as absent."""

    session_id: SessionId | None = None
    replace_turn: ReplacedTurn | None = None
    system: SystemText | None = None
    temperature: Temperature | None = None
    top_k: TopK | None = None
    top_p: TopP | None = None
    max_new_tokens: MaxNewTokens | None = None
    do_sample: DoSample | None = None
    repetition_penalty: RepetitionPenalty | None = None
    stop: Stop | None = None
    seed: Seed | None = None
    min_p: MinP | None = None
    frequency_penalty: Penalty | None = None
    presence_penalty: Penalty | None = None
    logit_bias: LogitBias | None = None
    min_tokens: MinTokens | None = None
    ignore_eos: IgnoreEos | None = None


def sampling(given: Parameters, default_new_tokens: int) -> Sampling:
    """What the engine is asked for; `default_new_tokens` when the request names no number."""
    if not _draws(given):
        temperature, top_k, top_p, min_p = 1.0, 0, 1.0, 0.0
    else:
        temperature = _default(given.temperature, 1.0)
        top_k, top_p = max(0, _default(given.top_k, 0)), max(_LEAST_TOP_P, _default(given.top_p, 1.0))
        min_p = _default(given.min_p, 0.0)
    return Sampling(
        max_new_tokens=_default(given.max_new_tokens, default_new_tokens),
        do_sample=_draws(given),
        temperature=temperature,
        top_k=top_k,
        top_p=top_p,
        min_p=min_p,
        frequency_penalty=_default(given.frequency_penalty, 0.0),
        presence_penalty=_default(given.presence_penalty, 0.0),
        logit_bias=_biases(given.logit_bias),
        min_tokens=_default(given.min_tokens, 0),
        ignore_eos=bool(given.ignore_eos),
        repetition_penalty=_default(given.repetition_penalty, 1.0),
        stop=_stop_strings(given.stop),
        seed=given.seed,
    )


def check_window(max_new_tokens: int | None, services: Services, field: str) -> None:
    """Where the settings say so, refuse an answer longer than the model's window. Raises ServiceError."""
    window = services.max_context_tokens
    if services.settings.long_replies == "clamp" or max_new_tokens is None or window is None:
        return
    if max_new_tokens >= window:
        raise invalid(field, max_new_tokens, f"must be below the model's window of {window} tokens")


def _draws(given: Parameters) -> bool:
    if given.temperature is not None and given.temperature < GREEDY_BELOW:
        return False
    if given.do_sample is not None:
        return given.do_sample
    return any(each is not None for each in (given.temperature, given.top_k, given.top_p, given.min_p))


def _default(value: N | None, otherwise: N) -> N:
    return otherwise if value is None else value


def _stop_strings(stop: str | list[str] | None) -> tuple[str, ...]:
    """Without the empty ones, which stop nothing."""
    given = [stop] if isinstance(stop, str) else stop or []
    return tuple(each for each in given if each)


def _biases(given: dict[str, float] | None) -> tuple[tuple[int, float], ...]:
    for token in given or {}:
        if not token.isascii() or not token.isdigit() or len(token) > _MOST_DIGITS:
            raise invalid(f"logit_bias[{token[:20]!r}]", token, "the keys of logit_bias are token ids")
    return tuple((int(token), bias) for token, bias in (given or {}).items())
