"""What POST /search takes and gives."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

from server.chat.records.turn_records import Source
from server.web.limits.table import MAX_SEARCH_CHARS, MAX_SEARCH_K, MAX_SEARCH_WINDOW


class SearchQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A search; what is absent comes from the server's settings."""

    query: Annotated[str, Meta(min_length=1, max_length=MAX_SEARCH_CHARS)]
    k: Annotated[int, Meta(ge=1, le=MAX_SEARCH_K, description="How many passages.")] | None = None
    w: (
        Annotated[int, Meta(ge=0, le=MAX_SEARCH_WINDOW, description="Neighbours on each side that may join a hit.")]
        | None
    ) = None
    w_th: (
        Annotated[float, Meta(ge=-1, le=1, description="Similarity to the hit above which a neighbour joins.")] | None
    ) = None


class SearchResults(msgspec.Struct, frozen=True):
    """Passages, best first."""

    results: tuple[Source, ...]
