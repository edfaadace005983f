"""What a build is asked for, and what each of its stages depends on."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field

from index_builder.documents.columns import USUAL_COLUMNS, Columns
from index_builder.documents.source import Source, source_bytes, source_fingerprint
from index_builder.embeddings.vector_shard import EMBEDDED
from index_builder.index.choice import IndexKind
from index_builder.manifest import encoder_revision
from index_builder.passages.window import WindowShape
from server.retrieval.encoder.encoder import Precision

SMALL_SOURCE_BYTES = 100 << 20
Inputs = dict[str, str]
"""What a stage's result depends on, by name: equal inputs, equal result."""


@dataclass(frozen=True)
class BuildPlan:
    """One build from a source to an evaluated index."""

    source: str
    encoder: str
    shape: WindowShape = field(default_factory=WindowShape)
    index: IndexKind = "auto"
    num_workers: int | None = None  # None: one a GPU, else one a core
    precision: Precision = "auto"
    recall_floor: float = 0.95
    name: str = ""  # empty: the source's
    shard_passages: int | None = None  # None: by the source's size
    columns: Columns = USUAL_COLUMNS  # of a source that is a table
    ray: str | None = None  # the Ray cluster's address, or "local"; None: this machine's processes


def usual_shard_passages(source: Source) -> int:
    """Passages a shard: small sources lose little when killed, large ones make few files."""
    return 1024 if source_bytes(source) < SMALL_SOURCE_BYTES else 16384


def passage_inputs(source: Source, shape: WindowShape, shard_passages: int) -> Inputs:
    """What the passage shards are made of."""
    return {
        "source": source_fingerprint(source),
        "window-sentences": str(shape.sentences),
        "stride-sentences": str(shape.stride),
        "language": shape.language,
        "shard-passages": str(shard_passages),
    }


def vector_inputs(passages: Inputs, encoder: str, precision: Precision) -> Inputs:
    """What the vector shards are made of."""
    return {
        "passages": _digest(passages),
        "encoder": encoder,
        "encoder revision": encoder_revision(encoder),
        "embedded": EMBEDDED,
        "precision": precision,
    }


def index_fingerprint(vectors: Inputs, kind: IndexKind) -> str:
    """Names what a whole index is made of."""
    return _digest(vectors | {"index": kind})


def _digest(inputs: Inputs) -> str:
    return hashlib.sha256(repr(sorted(inputs.items())).encode()).hexdigest()
