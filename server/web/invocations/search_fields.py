"""What a request says of its search: whether, how much, and of what."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from server.chat.records.turn_records import SearchWish
from server.retrieval.passage_filter import PassageFilter
from server.web.limits.table import MAX_FILTER_CHARS, MAX_FILTER_VALUES, MAX_SEARCH_K
from server.web.reading.struct_reader import invalid

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
