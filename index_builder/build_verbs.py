"""build, passages, embed, train: from a source to an index folder; and what a person is told of one."""

from __future__ import annotations

import argparse
import json
import shutil
from collections import Counter
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any, get_args
from urllib.parse import quote

import numpy as np

from index_builder import build
from index_builder.build import BuildPlan, IndexRequest, RecallDemand
from index_builder.documents.records import Columns
from index_builder.documents.source import forget_fetched, open_source
from index_builder.embeddings import EmbedRequest
from index_builder.estimate import described, estimate, refuse_small_disk
from index_builder.index.faiss_index import IndexKind
from index_builder.manifest import file_facts
from index_builder.passages.passage_shards import PassageRequest
from index_builder.passages.window import WindowShape
from index_builder.processes import Workers
from index_builder.progress import Progress
from index_builder.publish import PublishError, publish, refuse_poor, refuse_unwritable
from index_builder.work_folder import WorkFolder
from server.retrieval.encoder.encoder import Encoder, Precision
from server.retrieval.index.manifest import Manifest, read_manifest
from server.retrieval.index.passage_table import PASSAGES_FILE, PassageTable
from server.retrieval.index.retriever import IndexRetriever
from server.retrieval.query import Query

Flags = argparse.Namespace
QUESTIONS_HELP = "questions that recall is measured on, one a line; made from titles, headings and sentences"
_STAGING = "index-builds"
_PLAN = BuildPlan(source="", encoder="")
_LOOKED_AT = 10_000


def add_build_verbs(verbs: Any) -> None:
    """Add the verbs to a parser's."""
    whole = verbs.add_parser("build", help="everything: source to evaluated index", description=build.build.__doc__)
    _source_flags(whole)
    _worker_flags(whole)
    _encoder_flags(whole)
    add_delivery_flags(whole)
    _estimate_flags(whole)
    whole.set_defaults(run=run_build)
    passages = verbs.add_parser("passages", help="source to passage shards", description=build.cut.__doc__)
    _source_flags(passages)
    _worker_flags(passages)
    passages.add_argument("--work", type=Path, required=True)
    passages.set_defaults(run=run_passages)
    embed = verbs.add_parser("embed", help="passage shards to vector shards", description=build.embed.__doc__)
    _encoder_flags(embed)
    _worker_flags(embed)
    embed.add_argument("--work", type=Path, required=True)
    embed.set_defaults(run=run_embed)
    train = verbs.add_parser("train", help="shards to an index folder", description=build.train.__doc__)
    _index_flags(train)
    train.add_argument("--work", type=Path, required=True)
    train.set_defaults(run=run_train)


def run_build(flags: Flags, progress: Progress) -> None:
    """`build`: into a folder, or published to s3:// from a local one."""
    plan = BuildPlan(
        source=flags.source,
        encoder=flags.encoder,
        shape=_shape(flags),
        index=flags.index,
        factory=flags.factory,
        workers=_workers(flags),
        precision=flags.precision,
        demand=RecallDemand(flags.recall_floor, flags.questions),
        name=flags.name,
        shard_passages=flags.shard_passages,
        columns=columns_named(flags),
    )
    if flags.dry_run:
        _dry_run(plan, flags)
        return
    deliver(flags, progress, lambda folder, work: build.build(plan, folder, work, progress=progress))
    forget_fetched(flags.source)


def _dry_run(plan: BuildPlan, flags: Flags) -> None:
    """Say what the build will take, and refuse it where the disk is too small for it."""
    found = estimate(open_source(plan.source, plan.columns), plan.shape, plan.vectors, kind=plan.index)
    print(described(found, flags.price_per_hour, flags.cores))
    refuse_small_disk(found, flags.work or (_staging(flags) if flags.out.startswith("s3://") else Path(flags.out)))


def deliver(flags: Flags, progress: Progress, make: Callable[[Path, WorkFolder], Manifest]) -> None:
    """Let `make` write an index folder, publish it when it goes to s3://, and say what came of it.

    Raises:
        PublishError: S3 cannot be written, or the index is below the recall floor, as its manifest says too: it lies
            in its folder, `publish` refuses it.
    """
    remote = flags.out.startswith("s3://")
    if remote:
        refuse_unwritable(flags.out)
    folder = _staging(flags) if remote else Path(flags.out)
    manifest = make(folder, WorkFolder(flags.work or folder / ".work"))
    try:
        refuse_poor(manifest, flags.recall_floor)
    except PublishError:
        print_report(manifest, progress, f"{folder}, BELOW THE RECALL FLOOR and not published")
        raise
    address = publish(folder, flags.out, flags.recall_floor, progress=progress) if remote else str(folder)
    if remote:
        shutil.rmtree(folder, ignore_errors=True)
    print_report(manifest, progress, address)


def run_passages(flags: Flags, progress: Progress) -> None:
    """`passages`: only the first stage."""
    work = WorkFolder(flags.work)
    with work.locked():
        totals = build.cut(_passages(flags), work, _workers(flags), progress=progress)
    print(f"{totals.num_documents} documents, {totals.num_passages} passages, skipped {totals.skipped}")


def run_embed(flags: Flags, progress: Progress) -> None:
    """`embed`: only the second stage."""
    work = WorkFolder(flags.work)
    with work.locked():
        build.embed(EmbedRequest(flags.encoder, flags.precision), work, _workers(flags), progress=progress)


def run_train(flags: Flags, progress: Progress) -> None:
    """`train`: only the third stage."""
    work = WorkFolder(flags.work)
    with work.locked():
        manifest = build.train(
            IndexRequest(flags.index, flags.name, factory=flags.factory), work, Path(flags.out), progress=progress
        )
    print(f"{manifest.label}: {manifest.index.factory}; next: python -m index_builder evaluate --index {flags.out}")


def _staging(flags: Flags) -> Path:
    """Where an index that goes to S3 is built: beside its shards, or below the current folder. Never in the system's
    temporary folder, which is small on many machines, and empty after a restart.
    """
    base = flags.work.parent if flags.work else Path(_STAGING)
    return Path(base) / quote(flags.out.removeprefix("s3://").rstrip("/"), safe="")


def _passages(flags: Flags) -> PassageRequest:
    return PassageRequest(flags.source, _shape(flags), columns_named(flags), shard_passages=flags.shard_passages)


def _workers(flags: Flags) -> Workers:
    return Workers(flags.workers, flags.ray)


def _shape(flags: Flags) -> WindowShape:
    return WindowShape(flags.window_sentences, flags.stride_sentences or flags.window_sentences, flags.language)


def add_column_flags(verb: argparse.ArgumentParser) -> None:
    """Add a flag for every column of a table that has a purpose."""
    for column in fields(Columns):
        verb.add_argument(f"--{column.name}-column", metavar="NAME", help=f"of a table: the {column.name}")


def columns_named(flags: Flags) -> Columns:
    """The columns that the flags name."""
    return Columns(flags.text_column, flags.title_column, flags.id_column, url=flags.url_column)


def _source_flags(verb: argparse.ArgumentParser) -> None:
    shape = WindowShape()
    verb.add_argument(
        "--source", required=True, help="a dump, table, document, or a folder of them, here or at s3://, or `sample`"
    )
    add_column_flags(verb)
    verb.add_argument("--window-sentences", type=positive, default=shape.sentences, help="sentences of a passage")
    verb.add_argument("--stride-sentences", type=positive, help="sentences from one passage to the next; the window's")
    verb.add_argument("--language", default=shape.language, help="two-letter code, for sentence boundaries")
    verb.add_argument("--shard-passages", type=positive, help="passages a shard, the unit of resuming; by size")


def _estimate_flags(verb: argparse.ArgumentParser) -> None:
    verb.add_argument("--dry-run", action="store_true", help="say what it will take, and do none of it")
    verb.add_argument("--cores", type=positive, help="for --dry-run: of the machine that will build; this one's")
    verb.add_argument("--price-per-hour", type=float, metavar="MONEY", help="for --dry-run: of that machine")


def _worker_flags(verb: argparse.ArgumentParser) -> None:
    verb.add_argument("--workers", type=positive, help="processes; one a GPU, else one a core")
    verb.add_argument("--ray", metavar="ADDRESS", help="work on the Ray cluster at this address, or start one: `local`")


def _encoder_flags(verb: argparse.ArgumentParser) -> None:
    verb.add_argument("--encoder", required=True, help="a folder, a hub id with an optional @revision, or `sample`")
    verb.add_argument("--precision", choices=get_args(Precision), default=_PLAN.precision, help="of the encoder")


def add_delivery_flags(verb: argparse.ArgumentParser) -> None:
    """Add the flags that `deliver` reads, and those of the index."""
    _index_flags(verb)
    verb.add_argument("--work", type=Path, help="where shards are kept until the index is finished; OUT/.work")
    verb.add_argument("--questions", type=Path, help=QUESTIONS_HELP)
    verb.add_argument("--recall-floor", type=float, default=_PLAN.demand.floor, help="recall@10 to operate above")


def _index_flags(verb: argparse.ArgumentParser) -> None:
    verb.add_argument("--out", required=True, help="the index folder; for build also an s3:// prefix for its versions")
    verb.add_argument("--index", choices=get_args(IndexKind), default=_PLAN.index, help="kind of index")
    verb.add_argument("--factory", default="", metavar="STRING", help="Faiss' own name of the index, for who knows")
    verb.add_argument("--name", default=_PLAN.name, help="what the index is called in versions; the source's name")


def positive(text: str) -> int:
    """A flag's whole number from 1."""
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{number}: legal are whole numbers from 1")
    return number


def print_report(manifest: Manifest, progress: Progress, address: str) -> None:
    """Counts, what was left out by cause, time and memory of every stage that ran, and the size of the index."""
    passages, index = manifest.passages, manifest.index
    size = sum(facts.num_bytes for facts in manifest.files.values())
    print(f"index {manifest.label} at {address}")
    print(f"  documents {passages.num_documents}, passages {passages.num_passages}, {size / 2**20:.1f} MiB")
    for cause, count in sorted(passages.skipped.items()):
        print(f"  left out: {count} x {cause}")
    print(f"  {index.factory}: {index.reason}")
    since = f" before {index.changed_rows} passages changed" if index.changed_rows else ""
    print(f"  recall {index.recall} on {index.recall_queries}{since}")
    print(f"  latency {index.latency_ms}, breadth {index.breadth}")
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
