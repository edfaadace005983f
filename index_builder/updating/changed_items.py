"""Of a source, what an index does not hold yet."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from index_builder.documents import Document, ReadReport
from index_builder.documents.columns import Columns
from index_builder.documents.source import Source
from index_builder.updating.old_index import OldIndex

if TYPE_CHECKING:
    from numpy.typing import NDArray


class ChangedItems:
    """A source whose items are those of another that an index does not hold as they are now.

    Args:
        cut_alike: whether the index was cut as this program cuts; if not, every item has changed.

    Attributes:
        seen: which documents of the index the source holds unchanged, once its items were read.
    """

    def __init__(self, source: Source, old: OldIndex, cut_alike: bool) -> None:
        self._source = source
        self.seen: NDArray[np.bool_] = np.zeros(old.num_documents, dtype=bool)
        digests = enumerate(old.digests if cut_alike else ())
        self._known: dict[bytes, list[int]] = {}
        for number, digest in digests:
            if digest is not None:
                self._known.setdefault(digest, []).append(number)

    def __getstate__(self) -> dict[str, object]:
        """What other processes need to parse items."""
        return {"_source": self._source}

    @property
    def files(self) -> list[Path]:
        """What is read, in order."""
        return self._source.files

    @property
    def columns(self) -> Columns:
        """Which columns of tables are read."""
        return self._source.columns

    def name(self, path: Path) -> str:
        """The name of one of the files within the source."""
        return self._source.name(path)

    def items(self, report: ReadReport) -> Iterator[object]:
        """What has changed, in order."""
        for item in self._source.items(report):
            if numbers := self._known.get(self._source.item_digest(item)):
                self.seen[numbers] = True
            else:
                yield item

    def document(self, item: object) -> Document:
        """The document of one item. Raises SkippedError: the item gives none."""
        return self._source.document(item)

    def item_name(self, item: object) -> str:
        """What a person finds an item by."""
        return self._source.item_name(item)

    def item_digest(self, item: object) -> bytes:
        """What an item is known by, as long as nothing in it changes."""
        return self._source.item_digest(item)

    def is_risky(self, item: object) -> bool:
        """Whether nobody can promise how long reading an item takes."""
        return self._source.is_risky(item)

    def item_bytes(self, item: object) -> int:
        """The size of a risky item."""
        return self._source.item_bytes(item)
