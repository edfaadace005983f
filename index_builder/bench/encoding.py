"""The embedding stage beside bare SentenceTransformer.encode: the same passages, model, precision and one thread."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
from sentence_transformers import SentenceTransformer

from index_builder.documents import ReadReport
from index_builder.documents.source import open_source
from index_builder.embeddings.vector_shard import embedded_texts, write_vectors
from index_builder.passages.batch import BatchCutter, item_batches
from index_builder.passages.passage_shards import write_table
from index_builder.passages.window import WindowShape
from server.retrieval.encoder.encoder import Encoder
from server.retrieval.encoder.source import encoder_path

_SHARD_PASSAGES = 1024


def measure(source_name: str, encoder_name: str, num_passages: int, num_rounds: int) -> dict[str, object]:
    """Passages/s of both, taken in turns; the best round of each counts, since the machine may be busy."""
    table = _passages(source_name, num_passages)
    encoder = Encoder(encoder_name, "cpu", num_threads=1)
    bare = SentenceTransformer(encoder_path(encoder_name), device="cpu")
    texts = embedded_texts(table)
    stage_s, bare_s = [], []
    with tempfile.TemporaryDirectory() as folder:
        shards = _write_shards(table, Path(folder))
        for _ in range(num_rounds):
            started = time.perf_counter()
            found = bare.encode(texts, normalize_embeddings=True, show_progress_bar=False)
            bare_s.append(time.perf_counter() - started)
            started = time.perf_counter()
            for shard in shards:
                write_vectors(shard, shard.with_suffix(".npy"), encoder)
            stage_s.append(time.perf_counter() - started)
        ours = np.concatenate([np.load(shard.with_suffix(".npy")) for shard in shards]).astype(np.float32)
    return {
        "passages": len(texts),
        "encoder": encoder_name,
        "threads": 1,
        "bare_seconds": [round(seconds, 2) for seconds in bare_s],
        "stage_seconds": [round(seconds, 2) for seconds in stage_s],
        "bare_passages_per_s": round(len(texts) / min(bare_s), 1),
        "stage_passages_per_s": round(len(texts) / min(stage_s), 1),
        "stage_over_bare": round(min(bare_s) / min(stage_s), 3),
        "lowest_cosine_similarity": round(float((ours * found).sum(axis=1).min()), 6),
    }


def _passages(source_name: str, num_passages: int) -> pa.Table:
    """Passages spread over the whole source."""
    source = open_source(source_name)
    cutter = BatchCutter(source, WindowShape())
    table = pa.Table.from_batches([cutter(batch).rows for batch in item_batches(source.items(ReadReport()), 0)])
    return table.take(np.linspace(0, table.num_rows - 1, min(num_passages, table.num_rows)).astype(np.int64))


def _write_shards(table: pa.Table, folder: Path) -> list[Path]:
    paths = []
    for start in range(0, table.num_rows, _SHARD_PASSAGES):
        paths.append(folder / f"{start}.arrow")
        write_table(paths[-1], table.slice(start, _SHARD_PASSAGES).combine_chunks())
    return paths
