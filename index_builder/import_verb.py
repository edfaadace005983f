"""import: from an index that others have published to an index folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any, get_args

from index_builder.build_plan import RecallDemand
from index_builder.build_verbs import Flags, add_column_flags, add_delivery_flags, columns_named, deliver, positive
from index_builder.importing.import_index import ImportPlan, VectorOrigin, import_index
from index_builder.processes import Workers
from index_builder.progress import Progress

_PLAN = ImportPlan(published=Path(), encoder="")


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
