"""evaluate, publish, inspect: what is done with a finished index folder."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from index_builder.build_plan import BuildPlan
from index_builder.build_verbs import QUESTIONS_HELP
from index_builder.evaluation.evaluate import PLOT_FILE, evaluate, queries_for
from index_builder.progress import Progress
from index_builder.publish import publish, refuse_poor
from index_builder.report import inspect
from server.retrieval.encoder.encoder import Encoder
from server.retrieval.index.manifest import read_manifest

Flags = argparse.Namespace
_FLOOR = BuildPlan(source="", encoder="").demand.floor


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
