"""The command line: `build` for everything, one verb a stage, and what is done with a finished index."""

from __future__ import annotations

import argparse
import logging
import sys
from concurrent.futures.process import BrokenProcessPool

from index_builder.build_verbs import add_build_verbs
from index_builder.cluster.connection import ClusterError
from index_builder.documents.source import SourceError
from index_builder.embeddings.encoding import EmbeddingError
from index_builder.import_verb import add_import_verb
from index_builder.importing.layout import LayoutError
from index_builder.index.choice import FactoryError
from index_builder.index_verbs import add_index_verbs
from index_builder.progress import Progress
from index_builder.publish import PublishError
from index_builder.update_verb import add_update_verb
from index_builder.updating.update import UpdateError
from index_builder.work_folder import WorkFolderError
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
