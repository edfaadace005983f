"""The layout of the published wikipedia-3sentence-level-retrieval-index, and what of it a folder holds."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from server.retrieval.index.vector_index import INDEX_FILE


class LayoutError(ValueError):
    """A folder that cannot be imported; the sentence names the file, what was found and what is legal."""


@dataclass(frozen=True)
class PublishedFolder:
    """The files of a published index.

    Attributes:
        tables: Parquet files with one passage a row, in order.
        arrays: .npy files with one vector a row, in the passages' order; maybe none.
        index: the Faiss index of the same vectors, None where there is none.
    """

    path: Path
    tables: tuple[Path, ...]
    arrays: tuple[Path, ...]
    index: Path | None

    @property
    def files(self) -> list[Path]:
        """All of them."""
        return [*self.tables, *self.arrays, *([self.index] if self.index else [])]

    def name(self, path: Path) -> str:
        """The path of a file within the folder, with slashes."""
        return path.relative_to(self.path).as_posix()


def find_layout(path: Path) -> PublishedFolder:
    """What is in the folder `path`; files that are numbered are taken in the order of their numbers.

    Raises:
        LayoutError: it is no folder, has no table of passages, or several indexes.
    """
    if not path.is_dir():
        raise LayoutError(f"--from {str(path)!r}: no such folder")
    tables = _numbered(path, ".parquet")
    if not tables:
        there = ", ".join(sorted(each.name for each in path.iterdir())[:20]) or "nothing"
        raise LayoutError(
            f"--from {str(path)!r} holds no .parquet file of passages beside {INDEX_FILE}; it holds {there}"
        )
    indexes = sorted(path.rglob(INDEX_FILE))
    if len(indexes) > 1:
        raise LayoutError(f"--from {str(path)!r} holds {len(indexes)} files {INDEX_FILE}; name the folder of one index")
    return PublishedFolder(path, tables, _numbered(path, ".npy"), index=indexes[0] if indexes else None)


def _numbered(folder: Path, ending: str) -> tuple[Path, ...]:
    found = (path for path in folder.rglob(f"*{ending}") if path.is_file() and not path.name.startswith("."))
    return tuple(sorted(found, key=lambda path: _order(path.relative_to(folder).as_posix())))


def _order(name: str) -> list[tuple[int, str]]:
    """Sorts part_10 behind part_9."""
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", name)]
