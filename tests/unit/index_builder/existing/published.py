"""A small index in the layout of the published wikipedia-3sentence-level-retrieval-index, made for tests."""

from __future__ import annotations

from pathlib import Path

import faiss
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

TABLE = "wikipedia-en-sentences.parquet"


def texts(num_documents: int, passages_each: int = 4) -> list[str]:
    """Passages of `num_documents` documents, of subjects that an encoder can tell apart."""
    subjects = ("owls", "granite", "violins", "glaciers", "bread", "comets", "chess", "rivers")
    return [
        f"This is about {subjects[number % len(subjects)]} of kind {number}. Passage {part} tells what they are."
        for number in range(num_documents)
        for part in range(passages_each)
    ]


def write_published(
    folder: Path, passages: list[str | None], vectors: np.ndarray | None, *, cuts: tuple[int, ...] = (), index: str = ""
) -> Path:
    """The table, and the vectors if any: in arrays that are cut at these rows, or in a Faiss index of kind `index`."""
    folder.mkdir(parents=True, exist_ok=True)
    positions = [number % 4 for number in range(len(passages))]
    table = pa.table({"text_snippet": pa.array(passages, pa.string()), "position_in_source_text": positions})
    pq.write_table(table, folder / TABLE, row_group_size=100)
    if vectors is not None and not index:
        (folder / "embeddings").mkdir(exist_ok=True)
        for number, part in enumerate(np.split(vectors, cuts)):
            np.save(folder / "embeddings" / f"emb_{number}.npy", part)
    if vectors is not None and index:
        built = faiss.index_factory(vectors.shape[1], index, faiss.METRIC_INNER_PRODUCT)
        built.train(vectors)
        built.add(vectors)
        faiss.write_index(built, str(folder / "knn.index"))
    return folder
