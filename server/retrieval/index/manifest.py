"""What an index folder says of itself: manifest.json, written last, so that its presence means completeness."""

from __future__ import annotations

from pathlib import Path

import msgspec

from server.artifacts.folder import MANIFEST
from server.retrieval.retriever import RetrievalError

FORMAT = "openchatkit-index/1"


class EncoderFacts(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which encoder made the vectors, and a probe that tells whether another is the same."""

    name: str
    revision: str  # sha256 of its weights and configuration
    pooling: str
    dimension: int
    max_tokens: int
    normalized: bool
    probe_text: str
    probe_vector: list[float]
    query_prompt: str = ""  # what stands before a query, and before a passage, when they are encoded
    passage_prompt: str = ""
    precision: str = "auto"  # what it was asked to compute in


class PassageFacts(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How documents were cut."""

    language: str
    window_sentences: int
    stride_sentences: int
    embedded: str  # what of a passage was embedded, as a template
    num_documents: int
    num_passages: int
    rows_per_batch: int
    skipped: dict[str, int] = {}
    made_by: str = ""  # the version of the code that read and cut them


class IndexFacts(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The Faiss index, its operating point, and what was measured there."""

    kind: str  # flat, ivfpq, hnsw
    factory: str
    metric: str  # inner_product
    reason: str  # why this kind
    breadth: int = 0  # lists that a query looks into (nprobe), or the breadth of a graph search (efSearch)
    num_candidates: int = 0  # fetched from the index and ranked again by the stored vectors; 0: not ranked again
    recall: dict[str, float] = {}  # "recall@10" → 0.97, against exact search
    recall_interval: dict[str, list[float]] = {}  # between which bounds it lies with 95 percent confidence
    recall_queries: str = ""  # what it was measured on
    latency_ms: dict[str, float] = {}
    sweep: list[dict[str, float]] = []
    changed_rows: int = 0  # passages that were added or removed since this was measured


class FileFacts(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One file of the folder."""

    sha256: str
    num_bytes: int


class Manifest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """All of it; `fingerprint` names the inputs, so that the same build is not made twice."""

    format: str
    name: str
    version: str
    created: str
    fingerprint: str
    source: str
    encoder: EncoderFacts
    passages: PassageFacts
    index: IndexFacts
    files: dict[str, FileFacts]
    score_floor: float  # the cosine similarity under which small talk falls: what is lower is not relevant

    @property
    def label(self) -> str:
        """name/version/first digits of the passages' checksum."""
        checksum = next((facts.sha256 for name, facts in sorted(self.files.items()) if name.startswith("passages")), "")
        return f"{self.name}/{self.version}/{checksum[:12]}"


def read_manifest(folder: Path) -> Manifest:
    """The manifest of `folder`.

    Raises:
        RetrievalError: there is none, or it is not one this program writes.
    """
    path = folder / MANIFEST
    try:
        manifest = msgspec.json.decode(path.read_bytes(), type=Manifest)
    except FileNotFoundError as error:
        raise RetrievalError(f"index folder {folder} has no {MANIFEST}: it is no index, or is half written") from error
    except (OSError, ValueError, msgspec.MsgspecError, RecursionError) as error:
        raise RetrievalError(f"index manifest {path} cannot be read: {error}") from error
    if manifest.format != FORMAT:
        raise RetrievalError(f"index manifest {path} has format {manifest.format!r}; this program reads {FORMAT!r}")
    return manifest


def encode_manifest(manifest: Manifest) -> bytes:
    """The manifest as indented JSON."""
    return msgspec.json.format(msgspec.json.encode(manifest), indent=1) + b"\n"
