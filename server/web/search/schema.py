"""What POST /search takes and gives."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

from server.chat.records.turn_records import Source


class SearchQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A search; what is absent comes from the server's settings."""

    query: Annotated[str, Meta(min_length=1)]
    k: Annotated[int, Meta(ge=1, le=100, description="How many passages.")] | None = None
    w: Annotated[int, Meta(ge=0, le=50, description="Neighbours on each side that may join a hit.")] | None = None
    w_th: (
        Annotated[float, Meta(ge=-1, le=1, description="Similarity to the hit above which a neighbour joins.")] | None
    ) = None


class SearchResults(msgspec.Struct, frozen=True):
    """Passages, best first."""

    results: tuple[Source, ...]
