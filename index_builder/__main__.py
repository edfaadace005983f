"""python -m index_builder: the command line, and the verbs that update, import, evaluate, publish and inspect."""

from __future__ import annotations

import argparse
import logging
import sys
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any, get_args

from index_builder.build import BuildPlan, RecallDemand
from index_builder.build_verbs import (
    QUESTIONS_HELP,
    Flags,
    add_build_verbs,
    add_column_flags,
    add_delivery_flags,
    columns_named,
    deliver,
    inspect,
    positive,
    print_report,
)
from index_builder.cluster import ClusterError
from index_builder.documents.source import SourceError
from index_builder.embeddings import EmbeddingError
from index_builder.evaluation import PLOT_FILE, evaluate, queries_for
from index_builder.existing.import_index import ImportPlan, VectorOrigin, import_index
from index_builder.existing.published import LayoutError
from index_builder.existing.update import UpdateError, UpdatePlan, update_index
from index_builder.index.faiss_index import FactoryError
from index_builder.processes import Workers
from index_builder.progress import Progress
from index_builder.publish import PublishError, publish, refuse_poor
from index_builder.work_folder import WorkFolder, WorkFolderError
from server.retrieval.encoder.encoder import Encoder
from server.retrieval.index.manifest import read_manifest
from server.retrieval.retriever import RetrievalError

_KNOWN = (
    ClusterError,
    SourceError,
    LayoutError,
    RetrievalError,
    EmbeddingError,
    WorkFolderError,
    PublishError,
    UpdateError,
    FactoryError,
    BrokenProcessPool,
    OSError,
)

_PLAN = ImportPlan(published=Path(), encoder="")
_FLOOR = BuildPlan(source="", encoder="").demand.floor


def main(arguments: list[str] | None = None) -> int:
    """Run one verb; 0 when it succeeded, 2 with one sentence on standard error when it cannot."""
    flags = parser().parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", stream=sys.stderr)
    for chatty in ("sentence_transformers", "botocore"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
    try:
        flags.run(flags, Progress(quiet=flags.quiet))
    except _KNOWN as error:
        print(f"index_builder {flags.verb}: {error}", file=sys.stderr)
        return 2
    return 0


def parser() -> argparse.ArgumentParser:
    """All verbs and their flags."""
    whole = argparse.ArgumentParser(prog="python -m index_builder", description=__doc__)
    whole.add_argument("--quiet", action="store_true", help="no progress bars")
    verbs = whole.add_subparsers(dest="verb", required=True)
    add_build_verbs(verbs)
    add_import_verb(verbs)
    add_update_verb(verbs)
    add_index_verbs(verbs)
    return whole


def add_update_verb(verbs: Any) -> None:
    """Add the verb to a parser's."""
    verb = verbs.add_parser("update", help="add, replace and forget documents", description=update_index.__doc__)
    verb.add_argument("--index", type=Path, required=True, help="an index folder, which is replaced at once")
    whole = verb.add_mutually_exclusive_group()
    whole.add_argument("--source", default="", help="all that it should hold: what is not in it is forgotten")
    whole.add_argument("--add", default="", help="what is added, or replaces documents with the same ids")
    verb.add_argument("--forget", nargs="+", default=[], metavar="ID", help="documents that must go")
    verb.add_argument("--forget-file", type=Path, help="a file with an id a line")
    add_column_flags(verb)
    verb.add_argument("--encoder", default="", help="the one that built the index; the manifest's name")
    verb.add_argument("--workers", type=positive, help="processes that parse; one a core")
    verb.add_argument("--work", type=Path, help="where shards are kept meanwhile; INDEX/.work")
    verb.add_argument("--questions", type=Path, help=QUESTIONS_HELP)
    verb.add_argument("--recall-floor", type=float, default=RecallDemand().floor, help="recall@10 to operate above")
    verb.set_defaults(run=run_update)


def run_update(flags: Flags, progress: Progress) -> None:
    """`update`: in place; say what changed."""
    plan = UpdatePlan(
        source=flags.source,
        add=flags.add,
        forget=_forgotten(flags),
        columns=columns_named(flags),
        encoder=flags.encoder,
        workers=Workers(flags.workers),
        demand=RecallDemand(flags.recall_floor, flags.questions),
    )
    if not (plan.source or plan.add or plan.forget):
        raise UpdateError("nothing to do: give --source, --add, --forget or --forget-file")
    manifest, change = update_index(
        plan, flags.index, WorkFolder(flags.work or flags.index / ".work"), progress=progress
    )
    print_report(manifest, progress, str(flags.index))
    print(
        f"  kept {change.num_kept} documents, new or changed {change.num_new}, forgotten or replaced "
        f"{change.num_forgotten}; {change.num_encoded} passages encoded"
    )
    refuse_poor(manifest, flags.recall_floor)


def _forgotten(flags: Flags) -> tuple[str, ...]:
    listed = flags.forget_file.read_text().splitlines() if flags.forget_file else []
    return tuple(dict.fromkeys([*flags.forget, *(line.strip() for line in listed if line.strip())]))


def add_import_verb(verbs: Any) -> None:
    """Add the verb to a parser's."""
    verb = verbs.add_parser(
        "import",
        help="a published wikipedia-3sentence-level-retrieval-index, with the vectors it has",
        description=import_index.__doc__,
    )
    verb.add_argument(
        "--from", dest="published", type=Path, required=True, metavar="DIR",
        help="its folder: .parquet tables with a passage a row, and vectors as .npy arrays or in knn.index",
    )  # fmt: skip
    verb.add_argument("--encoder", required=True, help="the one that made the vectors: a folder, a hub id, or `sample`")
    verb.add_argument(
        "--vectors", choices=get_args(VectorOrigin), default=_PLAN.vectors,
        help="where they come from: arrays, else the index, else anew by the encoder",
    )  # fmt: skip
    add_column_flags(verb)
    verb.add_argument("--language", default=_PLAN.language, help="two-letter code, for words and sentences")
    verb.add_argument(
        "--window-sentences", type=positive, default=_PLAN.window_sentences, help="of a published passage"
    )
    verb.add_argument("--workers", type=positive, help="processes; one a core")
    add_delivery_flags(verb)
    verb.set_defaults(run=run_import)


def run_import(flags: Flags, progress: Progress) -> None:
    """`import`: into a folder, or published to s3:// from a local one."""
    plan = ImportPlan(
        published=flags.published,
        encoder=flags.encoder,
        vectors=flags.vectors,
        columns=columns_named(flags),
        language=flags.language,
        window_sentences=flags.window_sentences,
        index=flags.index,
        factory=flags.factory,
        workers=Workers(flags.workers),
        demand=RecallDemand(flags.recall_floor, flags.questions),
        name=flags.name,
    )
    deliver(flags, progress, lambda folder, work: import_index(plan, folder, work, progress=progress))


def add_index_verbs(verbs: Any) -> None:
    """Add the verbs to a parser's."""
    measure = verbs.add_parser("evaluate", help="recall and latency", description=evaluate.__doc__)
    _folder_flag(measure)
    measure.add_argument("--questions", type=Path, help=QUESTIONS_HELP)
    measure.add_argument("--encoder", default="", help="the one that built the index")
    measure.add_argument("--recall-floor", type=float, default=_FLOOR, help="recall@10 to operate above")
    measure.set_defaults(run=run_evaluate)
    send = verbs.add_parser("publish", help="to a folder or S3, as a version", description=publish.__doc__)
    _folder_flag(send)
    send.add_argument("--to", required=True, help="folder or s3:// prefix under which versions lie side by side")
    send.add_argument("--version", help="name of this version; the time it was built")
    send.add_argument("--recall-floor", type=float, default=_FLOOR, help="recall@10 below which nothing is published")
    send.set_defaults(run=run_publish)
    look = verbs.add_parser("inspect", help="what an index holds", description=inspect.__doc__)
    _folder_flag(look)
    look.add_argument("--query", help="search it for this question")
    look.add_argument("--encoder", default="", help="for --query; the one that built the index")
    look.add_argument("--k", type=int, default=5, help="passages to show")
    look.set_defaults(run=run_inspect)


def run_evaluate(flags: Flags, progress: Progress) -> None:
    """`evaluate`: measure; an index below the floor is reported as an error."""
    encoder = Encoder(flags.encoder or read_manifest(flags.index).encoder.name)
    queries = queries_for(flags.index, encoder, flags.questions)
    manifest, chosen = evaluate(flags.index, flags.recall_floor, queries, progress=progress)
    print(
        f"{manifest.label}: recall@1 {chosen.recall_at_1}, recall@5 {chosen.recall_at_5}, recall@10 "
        f"{chosen.recall_at_10}, recall@64 {chosen.recall_at_64} on {queries.origin}; "
        f"{chosen.p50_ms} ms a query, {chosen.queries_per_s} queries/s on one thread, breadth "
        f"{chosen.breadth}, {chosen.num_candidates} candidates; picture: {flags.index / PLOT_FILE}"
    )
    refuse_poor(manifest, flags.recall_floor)


def run_publish(flags: Flags, progress: Progress) -> None:
    """`publish`: print where the version lies."""
    print(publish(flags.index, flags.to, flags.recall_floor, progress=progress, version=flags.version))


def run_inspect(flags: Flags, progress: Progress) -> None:
    """`inspect`: facts, and passages for a question."""
    del progress
    inspect(flags.index, flags.query, flags.encoder, k=flags.k)


def _folder_flag(verb: argparse.ArgumentParser) -> None:
    verb.add_argument("--index", type=Path, required=True, help="an index folder")


if __name__ == "__main__":
    raise SystemExit(main())
