"""How a hit grows: neighbours join it while they are about the same thing, as in OpenChatKit.

OpenChatKit embeds the hit and its ten neighbours anew for every query; here the vectors stored at build time decide.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from server.retrieval.index.passage_table import PassageRow, PassageTable
from server.retrieval.index.stored_vectors import StoredVectors


def grow(hit: int, table: PassageTable, vectors: StoredVectors, window: int, threshold: float) -> range:
    """Rows around `hit` that belong to it: on each side, up to `window` neighbours of its document, one after
    another while their cosine similarity to the hit exceeds `threshold`.
    """
    document_id = table.document_id(hit)
    first = _extent(lambda step: table.document_id(hit - step) == document_id, window)
    last = _extent(lambda step: table.document_id(hit + step) == document_id, window)
    if first == last == 0:
        return range(hit, hit + 1)
    rows = vectors.rows(np.arange(hit - first, hit + last + 1))
    similarity = rows @ rows[first]
    before = _extent(lambda step: similarity[first - step] > threshold, first)
    after = _extent(lambda step: similarity[first + step] > threshold, last)
    return range(hit - before, hit + after + 1)


def without(covered: set[int], rows: range, hit: int) -> range:
    """The part of `rows` around `hit`, which is not covered, that reaches to the first covered row on each side."""
    before = _extent(lambda step: hit - step not in covered, hit - rows.start)
    after = _extent(lambda step: hit + step not in covered, rows.stop - 1 - hit)
    return range(hit - before, hit + after + 1)


def joined_text(rows: list[PassageRow]) -> str:
    """The text of neighbouring rows of one document, each character once although windows may overlap."""
    text = rows[0].text
    end = rows[0].end
    for row in rows[1:]:
        fresh = row.text[max(0, end - row.start) :]
        if fresh:
            text = text + (" " if row.start > end else "") + fresh
            end = row.end
    return text


def _extent(joins: Callable[[int], bool], limit: int) -> int:
    """How many steps from 1 on hold without a gap, at most `limit`."""
    for step in range(1, limit + 1):
        if not joins(step):
            return step - 1
    return limit
