"""Which columns of a table hold what."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass


class ColumnError(ValueError):
    """A table without a column that was asked for; the sentence names those there are."""


@dataclass(frozen=True)
class Columns:
    """Column names as a user gave them; None means the usual name, and for all but the text, if it is there.

    Raises:
        ColumnError: from `found_in`, see there.
    """

    text: str | None = None
    title: str | None = None
    id: str | None = None
    url: str | None = None

    def found_in(self, table: str, names: Collection[str]) -> dict[str, str]:
        """What each column of `table` is for → its name, out of `names`: always "text", the others if they are there.

        Raises:
            ColumnError: a column that was named, or the one of the text, is not among `names`.
        """
        found = {}
        for usual in ("text", "title", "id", "url"):
            named = getattr(self, usual)
            name = named or usual
            if name in names:
                found[usual] = name
            elif named or usual == "text":
                there = ", ".join(repr(each) for each in sorted(names)) or "none"
                raise ColumnError(f"{table} has no column {name!r} (--{usual}-column); its columns are {there}")
        return found


USUAL_COLUMNS = Columns()
