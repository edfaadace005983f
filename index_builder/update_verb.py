"""update: an index folder brought up to date."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from index_builder.build_plan import RecallDemand
from index_builder.build_verbs import QUESTIONS_HELP, Flags, add_column_flags, columns_named, positive
from index_builder.processes import Workers
from index_builder.progress import Progress
from index_builder.publish import refuse_poor
from index_builder.report import print_report
from index_builder.updating.update import UpdateError, UpdatePlan, update_index
from index_builder.work_folder import WorkFolder


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
