"""The passages of an index: an Arrow file, memory-mapped, read row by row without loading it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from server.retrieval.passage_filter import PassageFilter
from server.retrieval.retriever import RetrievalError

if TYPE_CHECKING:
    from numpy.typing import NDArray

SCHEMA = pa.schema(
    [
        ("passage_id", pa.string()),
        ("document_id", pa.string()),
        ("title", pa.string()),
        ("section", pa.string()),
        ("text", pa.string()),
        ("url", pa.string()),
        ("start", pa.int64()),  # [start, end): characters of the document's plain text
        ("end", pa.int64()),
        ("fields", pa.string()),  # of the document: JSON, name → values; "" without any
    ]
)


PASSAGES_FILE = "passages.arrow"
_WITHOUT_FIELDS = SCHEMA.names[:-1]  # as indexes were before documents had fields


@dataclass(frozen=True)
class PassageRow:
    """One row of the table; `[start, end)` are characters of the document's text."""

    passage_id: str
    document_id: str
    title: str
    section: str
    text: str
    url: str
    start: int
    end: int
    fields: str = ""


class PassageTable:
    """Rows by number; opening reads the file's footer only. Safe to read from many threads.

    Every record batch but the last holds equally many rows, so that a row is found without a table of batches.

    Raises:
        RetrievalError: the file is missing, is no Arrow file, or has other columns.
    """

    def __init__(self, path: Path) -> None:
        try:
            self._map = pa.memory_map(str(path))
            self._file = pa.ipc.open_file(self._map)
        except (OSError, pa.ArrowInvalid) as error:
            raise RetrievalError(f"passages file {path} cannot be opened: {error}") from error
        if self._file.schema.names not in (SCHEMA.names, _WITHOUT_FIELDS):
            raise RetrievalError(f"passages file {path} has columns {self._file.schema.names}, not {SCHEMA.names}")
        num_batches = self._file.num_record_batches
        self._rows_per_batch = self._file.get_batch(0).num_rows if num_batches else 0
        last = self._file.get_batch(num_batches - 1).num_rows if num_batches else 0
        self._num_rows = self._rows_per_batch * max(0, num_batches - 1) + last

    def __len__(self) -> int:
        return self._num_rows

    def row(self, number: int) -> PassageRow:
        """Row `number`, counted from 0."""
        batch, offset = self._locate(number)
        return PassageRow(*(column[offset].as_py() for column in batch.columns))

    def texts(self, numbers: Iterable[int]) -> list[str]:
        """The texts of these rows."""
        columns: dict[int, pa.Array] = {}
        found: list[str] = []
        for number in numbers:
            batch, offset = divmod(number, self._rows_per_batch)
            if batch not in columns:
                columns[batch] = self._file.get_batch(batch).column("text")
            found.append(columns[batch][offset].as_py())
        return found

    def document_id(self, number: int) -> str | None:
        """The document of row `number`, None outside the table."""
        if not 0 <= number < self._num_rows:
            return None
        batch, offset = self._locate(number)
        found: str = batch.column("document_id")[offset].as_py()
        return found

    def matching(self, wanted: PassageFilter) -> NDArray[np.int64]:  # [num_rows]
        """The rows that a filter takes, ascending; every row is looked at."""
        names = ("document_id", "title", "section", "url")
        found: list[int] = []
        for number in range(self._file.num_record_batches):
            columns = [self._file.get_batch(number).column(name).to_pylist() for name in names]
            first = number * self._rows_per_batch
            found += [first + offset for offset, row in enumerate(zip(*columns, strict=True)) if wanted.takes(*row)]
        return np.array(found, dtype=np.int64)

    def close(self) -> None:
        """Unmap the file; rows already read stay valid."""
        self._map.close()

    def _locate(self, number: int) -> tuple[pa.RecordBatch, int]:
        assert 0 <= number < self._num_rows, (number, self._num_rows)
        return self._file.get_batch(number // self._rows_per_batch), number % self._rows_per_batch
