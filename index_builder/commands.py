"""The command line: one verb a stage, and `build` for all of them."""

from __future__ import annotations

import argparse
import logging
import sys
from pathlib import Path

from index_builder.build import build
from index_builder.build_plan import BuildPlan
from index_builder.documents.source import SourceError
from index_builder.embeddings.stage import EmbeddingError
from index_builder.progress import Progress
from index_builder.work_folder import WorkFolder, WorkFolderError
from server.retrieval.retriever import RetrievalError


def main(arguments: list[str] | None = None) -> int:
    """Run one verb; 0 when it succeeded, 2 with one sentence on standard error when it cannot."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", stream=sys.stderr)
    flags = _parser().parse_args(arguments)
    try:
        plan = BuildPlan(flags.source, flags.encoder, num_workers=flags.workers)
        manifest = build(plan, Path(flags.out), WorkFolder(Path(flags.out) / ".work"), Progress())
        print(manifest.label)
        return 0
    except (SourceError, RetrievalError, EmbeddingError, WorkFolderError, OSError) as error:
        print(f"index_builder: {error}", file=sys.stderr)
        return 2


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m index_builder", description=__doc__)
    verbs = parser.add_subparsers(dest="verb", required=True)
    build_flags = verbs.add_parser("build")
    build_flags.add_argument("--source", required=True)
    build_flags.add_argument("--encoder", required=True)
    build_flags.add_argument("--out", required=True)
    build_flags.add_argument("--workers", type=int)
    return parser
