"""The manifest of a finished index folder."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from pathlib import Path

from index_builder.index.index_files import ROWS_PER_BATCH
from index_builder.passages.passage_shards import PassageTotals
from index_builder.passages.window import WindowShape
from index_builder.progress import Progress
from index_builder.work_folder import made_by, write_whole
from server.artifacts.folder import MANIFEST, sha256_of
from server.retrieval.encoder.encoder import Encoder
from server.retrieval.encoder.source import encoder_path
from server.retrieval.index.manifest import (
    FORMAT,
    EncoderFacts,
    FileFacts,
    IndexFacts,
    Manifest,
    PassageFacts,
    encode_manifest,
)

PROBE_TEXT = "Mercury is the planet closest to the Sun, and a metal that is liquid at room temperature."


def encoder_facts(encoder: Encoder) -> EncoderFacts:
    """What the server checks its own encoder against."""
    return EncoderFacts(
        name=encoder.name,
        revision=encoder_revision(encoder.name),
        pooling=encoder.pooling,
        dimension=encoder.dimension,
        max_tokens=encoder.max_tokens,
        normalized=True,
        query_prompt=encoder.prompts.query,
        passage_prompt=encoder.prompts.passage,
        probe_text=PROBE_TEXT,
        probe_vector=[round(float(number), 6) for number in encoder.encode([PROBE_TEXT])[0]],
    )


def passage_facts(totals: PassageTotals, shape: WindowShape, embedded: str) -> PassageFacts:
    """How the documents were cut, what of a passage was embedded, and what was left out."""
    return PassageFacts(
        language=shape.language,
        window_sentences=shape.sentences,
        stride_sentences=shape.stride,
        embedded=embedded,
        num_documents=totals.num_documents,
        num_passages=totals.num_passages,
        rows_per_batch=ROWS_PER_BATCH,
        skipped=totals.skipped,
        made_by=made_by(),
    )


@dataclass(frozen=True, kw_only=True)
class IndexDescription:
    """What a manifest says of an index beside its files, whose names are here."""

    source: str
    fingerprint: str
    encoder: EncoderFacts
    passages: PassageFacts
    index: IndexFacts
    file_names: list[str]
    score_floor: float


def new_manifest(folder: Path, about: IndexDescription, progress: Progress) -> Manifest:
    """The manifest of the files in `folder`, which are check-summed; its name is the source's."""
    created = datetime.now(UTC)
    return Manifest(
        format=FORMAT,
        name=Path(about.source).name.split(".")[0] or "index",
        version=created.strftime("%Y%m%dT%H%M%SZ"),
        created=created.isoformat(timespec="microseconds"),
        fingerprint=about.fingerprint,
        source=about.source,
        encoder=about.encoder,
        passages=about.passages,
        index=about.index,
        files=_all_facts([folder / name for name in about.file_names], progress),
        score_floor=about.score_floor,
    )


def store_manifest(folder: Path, manifest: Manifest) -> None:
    """Write manifest.json, last of all: its presence says that the folder is complete."""
    write_whole(folder / MANIFEST, lambda draft: draft.write_bytes(encode_manifest(manifest)))


def file_facts(path: Path, on_bytes: Callable[[int], object] = lambda _: None) -> FileFacts:
    """Checksum and size of a file; `on_bytes` hears how many were read."""
    return FileFacts(sha256=sha256_of(path, on_bytes), num_bytes=path.stat().st_size)


def _all_facts(paths: list[Path], progress: Progress) -> dict[str, FileFacts]:
    with progress.stage("checksum", sum(path.stat().st_size for path in paths), "B") as bar:
        return {path.name: file_facts(path, bar.update) for path in paths}


def encoder_revision(name: str) -> str:
    """A checksum of a local encoder's weights and configuration; a hub encoder's own revision."""
    folder = Path(encoder_path(name))
    if not folder.is_dir():
        return name.partition("@")[2] or "main"
    kinds = (".json", ".safetensors", ".bin", ".txt")
    paths = [path for path in sorted(folder.rglob("*")) if path.suffix in kinds and path.is_file()]
    return _revision(folder, tuple((path, path.stat().st_size, path.stat().st_mtime_ns) for path in paths))


@cache
def _revision(folder: Path, files: tuple[tuple[Path, int, int], ...]) -> str:
    """A checksum of files that are told apart by their sizes and times: computed once."""
    digests = {str(path.relative_to(folder)): file_facts(path).sha256 for path, _, _ in files}
    return hashlib.sha256(repr(digests).encode()).hexdigest()
