"""The stages of a build: each goes on from what an earlier run has finished, and reads what came before from the work
folder, so that they may run as separate commands."""

from __future__ import annotations

import hashlib
import logging
import shutil
from dataclasses import dataclass, field, replace
from pathlib import Path

import msgspec

from index_builder.cluster import connected
from index_builder.documents.records import USUAL_COLUMNS, Columns
from index_builder.documents.source import Source, SourceError, open_source, source_bytes, source_fingerprint
from index_builder.embeddings import (
    EMBEDDED,
    NO_DIRECTION,
    EmbedRequest,
    VectorShards,
    drop_directionless,
    embed_on_cluster,
    embed_passages,
    plan_embedding,
    rows_of_shard,
)
from index_builder.estimate import described, estimate, refuse_small_disk
from index_builder.evaluation import PLOT_FILE, evaluate, queries_for, small_talk_floor
from index_builder.index.faiss_index import IndexChoice, IndexKind, named_factory
from index_builder.index.index_files import write_index_files
from index_builder.manifest import (
    IndexDescription,
    encoder_facts,
    encoder_revision,
    new_manifest,
    passage_facts,
    store_manifest,
)
from index_builder.passages.batch import read_failures, write_failures
from index_builder.passages.passage_shards import PassageRequest, PassageTotals, usual_shard_passages, write_passages
from index_builder.passages.window import WindowShape
from index_builder.processes import Workers
from index_builder.progress import Progress
from index_builder.work_folder import (
    QUARANTINE_FILE,
    WorkFolder,
    WorkFolderError,
    cutter_version,
    install,
    parser_version,
    sweep_drafts,
    writer_version,
)
from server.artifacts.folder import MANIFEST
from server.retrieval.encoder.encoder import Encoder, Precision
from server.retrieval.index.manifest import EncoderFacts, IndexFacts, Manifest, read_manifest
from server.retrieval.index.stored_vectors import VECTORS_FILE, StoredVectors

log = logging.getLogger(__name__)

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


_SMALL_BYTES = 8 << 20  # a source that is built sooner than estimated
_LOOK_S = 5.0
_FEW_CHANGED = 0.05  # of the passages, for which recall and the floor of scores are not measured anew


def build(plan: BuildPlan, folder: Path, work: WorkFolder, progress: Progress) -> Manifest:
    """Everything, one stage after another; at once when `folder` already holds this very index.

    Raises:
        WorkFolderError: another process works in the same folder.
    """
    source = open_source(plan.source, plan.columns)
    inputs = passage_inputs(source, plan.passages)  # looks at every file of the source: once
    fingerprint = index_fingerprint(vector_inputs(inputs, plan.vectors), plan.factory or plan.index)
    with work.locked():
        if (found := finished(folder)) is not None and found.fingerprint == fingerprint:
            log.info("build.unchanged folder=%s version=%s", folder, found.version)
            work.remove()
            return found
        sweep_drafts(work.path, folder)
        if source_bytes(source) > _SMALL_BYTES and work.done("passages") is None:
            expected = estimate(source, plan.shape, plan.vectors, kind=plan.index, look_s=_LOOK_S)
            log.info("%s", described(expected, None, plan.workers.number))
            refuse_small_disk(expected, folder if plan.workers.ray else work.path)
        with connected(plan.workers.ray):
            request = replace(plan.passages, quarantine=folder / QUARANTINE_FILE)
            _cut(source, inputs, request, work=work, workers=plan.workers, progress=progress)
            embed(plan.vectors, work, plan.workers, progress=progress)
            return finish(plan.wanted_index, work, folder, demand=plan.demand, progress=progress)


@dataclass(frozen=True)
class Earlier:
    """What an index was measured at before `num_changed` passages of it were added, removed or replaced."""

    manifest: Manifest
    folder: Path
    num_changed: int

    @property
    def changed_rows(self) -> int:
        """How many passages have changed since it was measured, by earlier updates too."""
        return self.manifest.index.changed_rows + self.num_changed

    def holds(self, demand: RecallDemand, now: IndexFacts) -> bool:
        """Whether it may be said of the index as it is now: of the same kind, few passages are others, and it is above
        the floor.
        """
        facts = self.manifest.index
        lows = [low for low, _ in facts.recall_interval.values()]
        is_above = facts.kind == "flat" or (bool(lows) and min(lows) >= demand.floor)
        few = self.changed_rows <= _FEW_CHANGED * self.manifest.passages.num_passages
        is_same = (now.kind, now.factory) == (facts.kind, facts.factory)
        return is_same and bool(facts.recall) and is_above and few and demand.questions is None

    def told_of(self, folder: Path) -> Manifest:
        """Write what was measured then into the manifest of `folder`, with its picture."""
        manifest, measured = read_manifest(folder), self.manifest.index
        files = dict(manifest.files)
        if PLOT_FILE in self.manifest.files:
            shutil.copyfile(self.folder / PLOT_FILE, folder / PLOT_FILE)
            files[PLOT_FILE] = self.manifest.files[PLOT_FILE]
        index = msgspec.structs.replace(measured, reason=manifest.index.reason, changed_rows=self.changed_rows)
        told = msgspec.structs.replace(manifest, index=index, files=files)
        store_manifest(folder, told)
        return told


def finish(
    request: IndexRequest,
    work: WorkFolder,
    folder: Path,
    demand: RecallDemand,
    progress: Progress,
    earlier: Earlier | None = None,
) -> Manifest:
    """Train and evaluate beside the shards, put the index into `folder` at once, and remove the shards.

    Args:
        earlier: of nearly the same index, whose figures are kept while they hold: nothing is encoded or searched then.
    """
    files = write_files(request, work, progress=progress)
    if earlier is not None and earlier.holds(demand, files.index):
        describe(files, work, earlier.manifest.encoder, earlier.manifest.score_floor, progress=progress)
        manifest = earlier.told_of(work.result)
    else:
        encoder = described_by_encoder(files, work, progress=progress)
        queries = queries_for(work.result, encoder, demand.questions)
        manifest, _ = evaluate(work.result, demand.floor, queries, progress=progress)
    install(work.result, folder)
    work.remove()
    return manifest


def finished(folder: Path) -> Manifest | None:
    """The manifest of an evaluated index in `folder`, None when there is none."""
    if not (folder / MANIFEST).exists():
        return None
    manifest = read_manifest(folder)
    return manifest if manifest.index.recall else None


def cut(request: PassageRequest, work: WorkFolder, workers: Workers, progress: Progress) -> PassageTotals:
    """Cut a source into passage shards.

    Raises:
        SourceError: it cannot be read, or holds nothing to cut.
    """
    source = open_source(request.source, request.columns)
    inputs = passage_inputs(source, request)
    return _cut(source, inputs, request, work=work, workers=workers, progress=progress)


def _cut(
    source: Source, inputs: Inputs, request: PassageRequest, work: WorkFolder, workers: Workers, progress: Progress
) -> PassageTotals:
    work.claim("passages", inputs)
    with connected(workers.ray):
        totals = write_passages(source, request, work, workers=workers, progress=progress)
    if not totals.num_passages:
        raise SourceError(f"--source {request.source!r} holds no passage; left out: {totals.skipped or 'nothing'}")
    return totals


def embed(request: EmbedRequest, work: WorkFolder, workers: Workers, progress: Progress) -> None:
    """Encode the passage shards of `work`."""
    inputs, totals = _finished_passages(work)
    work.claim("vectors", vector_inputs(inputs, request))
    if workers.ray is None:
        embed_passages(work, totals.num_passages, plan_embedding(request, workers), progress=progress)
        return
    with connected(workers.ray):
        embed_on_cluster(work, totals.num_passages, request, workers=workers, progress=progress)


def train(request: IndexRequest, work: WorkFolder, folder: Path, progress: Progress) -> Manifest:
    """Write an index folder from the shards of `work`; it is complete, but not evaluated yet.

    Raises:
        WorkFolderError: a stage before has not ended, or its shards are not all there.
    """
    described_by_encoder(write_files(request, work, progress=progress), work, progress=progress)
    install(work.result, folder)
    return read_manifest(folder)


@dataclass(frozen=True)
class IndexFiles:
    """The files of an index in the folder `result`, which no manifest describes yet."""

    request: IndexRequest
    totals: PassageTotals
    index: IndexFacts
    names: list[str]


def write_files(request: IndexRequest, work: WorkFolder, progress: Progress) -> IndexFiles:
    """Write the index of the shards of `work` into its folder `result`, but for the manifest.

    Raises:
        WorkFolderError: a stage before has not ended, or its shards are not all there.
    """
    _, totals = _finished_passages(work)
    _vector_inputs(work)
    num_dropped = drop_directionless(work)
    totals.num_passages -= num_dropped
    if num_dropped:
        totals.skipped[NO_DIRECTION] = totals.skipped.get(NO_DIRECTION, 0) + num_dropped
    _refuse_other_counts(work, totals.num_passages)
    work.claim("index", {"index": request.factory or request.kind})
    index, names = write_index_files(_wanted(request, work), work, work.result, progress=progress)
    if failures := read_failures(work.quarantine):
        write_failures(work.result / QUARANTINE_FILE, failures.values())
        names.append(QUARANTINE_FILE)
    return IndexFiles(request, totals, index, names=names)


def described_by_encoder(files: IndexFiles, work: WorkFolder, progress: Progress) -> Encoder:
    """Write the manifest of the files with the facts and the floor of scores that their encoder gives; the encoder."""
    encoder = Encoder(_vector_inputs(work)["encoder"])
    language = _finished_passages(work)[0]["language"]
    floor = small_talk_floor(encoder, StoredVectors(work.result / VECTORS_FILE), language, progress=progress)
    describe(files, work, encoder_facts(encoder), floor, progress=progress)
    return encoder


def describe(
    files: IndexFiles, work: WorkFolder, encoder: EncoderFacts, score_floor: float, progress: Progress
) -> None:
    """Write the manifest of the files."""
    inputs, vectors = _finished_passages(work)[0], _vector_inputs(work)
    request = files.request
    about = IndexDescription(
        source=request.name or files.totals.source,
        fingerprint=index_fingerprint(vectors, request.factory or request.kind),
        encoder=msgspec.structs.replace(encoder, precision=vectors["precision"]),
        passages=passage_facts(files.totals, _shape(inputs), vectors["embedded"]),
        index=files.index,
        file_names=files.names,
        score_floor=score_floor,
    )
    store_manifest(work.result, new_manifest(work.result, about, progress))


def _vector_inputs(work: WorkFolder) -> Inputs:
    _finished_passages(work)
    vectors = work.inputs("vectors")
    if vectors is None:
        raise WorkFolderError(f"work folder {work.path} holds no vectors; run the verb `embed` first")
    return vectors


def _wanted(request: IndexRequest, work: WorkFolder) -> IndexKind | IndexChoice:
    if request.factory:
        return named_factory(request.factory, VectorShards.of(work.vector_shards()).dimension)
    return request.choice or request.kind


def _shape(inputs: Inputs) -> WindowShape:
    return WindowShape(int(inputs["window-sentences"]), int(inputs["stride-sentences"]), inputs["language"])


def _refuse_other_counts(work: WorkFolder, num_passages: int) -> None:
    """Compare the shards with each other and with what was counted when they were written."""
    passages = [rows_of_shard(path) for path in work.passage_shards()]
    vectors = [shard.num_rows for shard in VectorShards.of(work.vector_shards()).shards]
    if sum(passages) != num_passages or passages != vectors:
        raise WorkFolderError(
            f"work folder {work.path} counted {num_passages} passages, its shards hold {sum(passages)} and "
            f"{sum(vectors)} vectors; some were lost or changed: remove the folder and begin again"
        )


def _finished_passages(work: WorkFolder) -> tuple[Inputs, PassageTotals]:
    inputs, totals = work.inputs("passages"), work.done("passages")
    if inputs is None or totals is None:
        raise WorkFolderError(f"work folder {work.path} holds no passages; run the verb `passages` first")
    return inputs, msgspec.convert(totals, PassageTotals)
