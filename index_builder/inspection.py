"""What an index folder holds, for a person."""

from __future__ import annotations

from pathlib import Path

from index_builder.manifest import file_facts
from server.retrieval.encoder.encoder import Encoder
from server.retrieval.index.manifest import Manifest, read_manifest
from server.retrieval.index.retriever import IndexRetriever


def inspect(folder: Path, query: str | None, encoder: str, k: int) -> None:
    """Print an index's facts and whether its files are those of its manifest; passages for `query` when given.

    Raises:
        RetrievalError: it is no index, or cannot be searched.
    """
    manifest = read_manifest(folder)
    print(_facts(manifest))
    for name, facts in manifest.files.items():
        path = folder / name
        state = "missing" if not path.is_file() else "as published" if file_facts(path) == facts else "CHANGED"
        print(f"  {name:<16} {facts.num_bytes / 2**20:>10.1f} MiB  {state}")
    if query:
        retriever = IndexRetriever(folder, Encoder(encoder or manifest.encoder.name), score_floor=-1.0, timeout_s=60.0)
        for passage in retriever.search(query, k, 0, 1.0):
            print(f"{passage.score:.3f}  {passage.title} | {passage.section} | {passage.passage_id}\n  {passage.text}")
        retriever.close()


def _facts(manifest: Manifest) -> str:
    passages, index, encoder = manifest.passages, manifest.index, manifest.encoder
    return "\n".join(
        (
            f"{manifest.label}, made {manifest.created} from {manifest.source}",
            f"  {passages.num_documents} documents, {passages.num_passages} passages of {passages.window_sentences} "
            f"sentences, one every {passages.stride_sentences}; skipped {passages.skipped}",
            f"  encoder {encoder.name}: {encoder.dimension} numbers, {encoder.pooling} pooling, embedded "
            f"{passages.embedded!r}",
            f"  index {index.factory}, breadth {index.breadth}, {index.num_candidates} candidates; {index.reason}",
            f"  recall {index.recall}, latency {index.latency_ms}",
        )
    )
