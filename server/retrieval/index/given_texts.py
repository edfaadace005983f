"""What a search has given already, so that copies and overlapping windows do not fill its list."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from server.retrieval.index.passage_table import PassageRow

_REPEATED_SHARE = 0.5  # of a passage's characters, in earlier ones of its document


class GivenTexts:
    """The texts of the passages given so far, and where in their documents they stand."""

    def __init__(self) -> None:
        self._texts: set[str] = set()
        self._places: defaultdict[str, list[tuple[int, int]]] = defaultdict(list)

    def repeats(self, row: PassageRow) -> bool:
        """Whether the passage is one of them, word for word, or more than half of it is in one."""
        if " ".join(row.text.split()) in self._texts:
            return True
        shared = max(
            (min(row.end, end) - max(row.start, start) for start, end in self._places[row.document_id]), default=0
        )
        return shared > _REPEATED_SHARE * (row.end - row.start)

    def add(self, rows: Sequence[PassageRow]) -> None:
        """Note a passage of neighbouring rows."""
        self._texts.update(" ".join(row.text.split()) for row in rows)
        self._places[rows[0].document_id].append((rows[0].start, rows[-1].end))
