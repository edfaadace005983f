"""What a build is asked for."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field

from index_builder.documents.source import Source, source_bytes, source_fingerprint
from index_builder.embeddings.shard import EMBEDDED
from index_builder.index.choice import IndexKind
from index_builder.passages.window import WindowShape

SMALL_SOURCE_BYTES = 100 << 20


@dataclass(frozen=True)
class BuildPlan:
    """One build; the fingerprints tell whether finished work may be used again."""

    source_name: str
    encoder: str
    shape: WindowShape = field(default_factory=WindowShape)
    index: IndexKind = "auto"
    num_workers: int | None = None
    recall_floor: float = 0.95

    def shard_passages(self, source: Source) -> int:
        """Passages a shard: small sources lose little when killed, large ones make few files."""
        return 1024 if source_bytes(source) < SMALL_SOURCE_BYTES else 16384

    def passages_fingerprint(self, source: Source) -> str:
        """Names what the passage shards are made of."""
        return _digest(source_fingerprint(source), repr(self.shape), str(self.shard_passages(source)))

    def index_fingerprint(self, source: Source) -> str:
        """Names what the whole index is made of."""
        return _digest(self.passages_fingerprint(source), self.encoder, EMBEDDED, self.index)


def _digest(*parts: str) -> str:
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()
