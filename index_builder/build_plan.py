"""What a build is asked for, and what each of its stages depends on."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from pathlib import Path

from index_builder.code_version import cutter_version, parser_version, writer_version
from index_builder.documents.records import USUAL_COLUMNS, Columns
from index_builder.documents.source import Source, source_fingerprint
from index_builder.embeddings import EmbedRequest
from index_builder.vector_shards import EMBEDDED
from index_builder.index.faiss_index import IndexChoice, IndexKind
from index_builder.manifest import encoder_revision
from index_builder.passages.passage_shards import PassageRequest, usual_shard_passages
from index_builder.passages.window import WindowShape
from index_builder.processes import Workers
from server.retrieval.encoder.encoder import Precision

Inputs = dict[str, str]
"""What a stage's result depends on, by name: equal inputs, equal result."""


@dataclass(frozen=True)
class RecallDemand:
    """What an index must find of what exact search finds, and on which questions; None: made from its passages."""

    floor: float = 0.95
    questions: Path | None = None


@dataclass(frozen=True)
class IndexRequest:
    """Which kind of index is made, and what it is called; "": as its source."""

    kind: IndexKind = "auto"
    name: str = ""
    choice: IndexChoice | None = None  # the very one, in place of what fits the size
    factory: str = ""  # the string of Faiss' own that a person has given; "": what fits the size


@dataclass(frozen=True, kw_only=True)
class BuildPlan:
    """One build from a source to an evaluated index."""

    source: str
    encoder: str
    shape: WindowShape = field(default_factory=WindowShape)
    index: IndexKind = "auto"
    factory: str = ""
    workers: Workers = field(default_factory=Workers)
    precision: Precision = "auto"
    demand: RecallDemand = field(default_factory=RecallDemand)
    name: str = ""  # empty: the source's
    shard_passages: int | None = None  # None: by the source's size
    columns: Columns = USUAL_COLUMNS  # of a source that is a table

    @property
    def passages(self) -> PassageRequest:
        """What is cut, and how."""
        return PassageRequest(self.source, self.shape, self.columns, shard_passages=self.shard_passages)

    @property
    def wanted_index(self) -> IndexRequest:
        """Which index is made of them."""
        return IndexRequest(self.index, self.name, factory=self.factory)

    @property
    def vectors(self) -> EmbedRequest:
        """What encodes the passages."""
        return EmbedRequest(self.encoder, self.precision)


def passage_inputs(source: Source, request: PassageRequest) -> Inputs:
    """What the passage shards are made of."""
    return {
        "source": source_fingerprint(source),
        "window-sentences": str(request.shape.sentences),
        "stride-sentences": str(request.shape.stride),
        "language": request.shape.language,
        "shard-passages": str(request.shard_passages or usual_shard_passages(source)),
        "parser": parser_version(),
        "cutter": cutter_version(),
    }


def vector_inputs(passages: Inputs, request: EmbedRequest) -> Inputs:
    """What the vector shards are made of."""
    return {
        "passages": _digest(passages),
        "encoder": request.encoder,
        "encoder revision": encoder_revision(request.encoder),
        "embedded": EMBEDDED,
        "precision": request.precision,
    }


def index_fingerprint(vectors: Inputs, kind: str) -> str:
    """Names what a whole index is made of; `kind` may be a factory's string."""
    return _digest(vectors | {"index": kind, "writer": writer_version()})


def _digest(inputs: Inputs) -> str:
    return hashlib.sha256(repr(sorted(inputs.items())).encode()).hexdigest()
