"""What a build has made and what it cost, and what an index folder holds: for a person."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import numpy as np

from index_builder.manifest import file_facts
from index_builder.progress import Progress
from server.retrieval.encoder.encoder import Encoder
from server.retrieval.index.manifest import Manifest, read_manifest
from server.retrieval.index.passage_table import PassageTable
from server.retrieval.index.retriever import PASSAGES_FILE, IndexRetriever
from server.retrieval.query import Query

_LOOKED_AT = 10_000


def print_report(manifest: Manifest, progress: Progress, address: str) -> None:
    """Counts, what was left out by cause, time and memory of every stage that ran, and the size of the index."""
    passages, index = manifest.passages, manifest.index
    size = sum(facts.num_bytes for facts in manifest.files.values())
    print(f"index {manifest.label} at {address}")
    print(f"  documents {passages.num_documents}, passages {passages.num_passages}, {size / 2**20:.1f} MiB")
    for cause, count in sorted(passages.skipped.items()):
        print(f"  left out: {count} x {cause}")
    print(f"  {index.factory}: {index.reason}")
    print(f"  recall {index.recall} on {index.recall_queries}, latency {index.latency_ms}, breadth {index.breadth}")
    for stage, cost in progress.costs.items():
        print(
            f"  {stage:<9} {cost.seconds:>9.1f} s   peak memory {cost.peak_mib:.0f} MiB, "
            f"largest child so far {cost.peak_children_mib:.0f} MiB"
        )
    print(f"  peak memory of all, {progress.peak_mib:.0f} MiB")


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
    _print_fields(folder)
    if query:
        retriever = IndexRetriever(folder, Encoder(encoder or manifest.encoder.name), score_floor=-1.0, timeout_s=60.0)
        for passage in retriever.search(Query(query, k, 0, threshold=1.0)):
            print(f"{passage.score:.3f}  {passage.title} | {passage.section} | {passage.passage_id}\n  {passage.text}")
        retriever.close()


def _print_fields(folder: Path) -> None:
    """What a search may be filtered by, and the values met most often; of a large index, in passages spread over it."""
    table = PassageTable(folder / PASSAGES_FILE)
    found: dict[str, Counter[str]] = {}
    for number in np.unique(np.linspace(0, len(table) - 1, min(len(table), _LOOKED_AT)).astype(int)):
        for name, values in json.loads(table.row(int(number)).fields or "{}").items():
            found.setdefault(name, Counter()).update(values)
    table.close()
    for name, counts in sorted(found.items()):
        usual = ", ".join(f"{value!r} ({count})" for value, count in counts.most_common(5))
        print(f"  field {name}: {usual}{f' and {len(counts) - 5} more' if len(counts) > 5 else ''}")


def _facts(manifest: Manifest) -> str:
    passages, index, encoder = manifest.passages, manifest.index, manifest.encoder
    return "\n".join(
        (
            f"{manifest.label}, made {manifest.created} from {manifest.source}",
            f"  {passages.num_documents} documents, {passages.num_passages} passages of {passages.window_sentences} "
            f"sentences, one every {passages.stride_sentences}; skipped {passages.skipped}",
            f"  encoder {encoder.name}: {encoder.dimension} numbers, {encoder.pooling} pooling, embedded "
            f"{passages.embedded!r}; prompts {encoder.query_prompt!r}, {encoder.passage_prompt!r}",
            f"  index {index.factory}, breadth {index.breadth}, {index.num_candidates} candidates; {index.reason}",
            f"  recall {index.recall}, {index.recall_interval} with 95 percent confidence",
            f"  measured on {index.recall_queries}; latency {index.latency_ms}",
        )
    )
