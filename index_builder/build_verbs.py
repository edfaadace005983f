"""build, passages, embed, train: from a source to an index folder."""

from __future__ import annotations

import argparse
import shutil
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any, get_args
from urllib.parse import quote

from index_builder import build
from index_builder.build_plan import BuildPlan, IndexRequest, RecallDemand
from index_builder.documents.columns import Columns
from index_builder.documents.source import open_source
from index_builder.embeddings.encoding import EmbedRequest
from index_builder.estimate import described, estimate, refuse_small_disk
from index_builder.index.choice import IndexKind
from index_builder.passages.passage_shards import PassageRequest
from index_builder.passages.window import WindowShape
from index_builder.processes import Workers
from index_builder.progress import Progress
from index_builder.publish import PublishError, publish, refuse_poor, refuse_unwritable
from index_builder.report import print_report
from index_builder.work_folder import WorkFolder
from server.retrieval.encoder.encoder import Precision
from server.retrieval.index.manifest import Manifest

Flags = argparse.Namespace
QUESTIONS_HELP = "questions that recall is measured on, one a line; made from titles, headings and sentences"
_STAGING = "index-builds"
_PLAN = BuildPlan(source="", encoder="")


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
    verb.add_argument("--source", required=True, help="a dump, table, document, or a folder of them, or `sample`")
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
