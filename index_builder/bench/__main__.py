"""The command line: one verb a measurement; JSON on standard output."""

from __future__ import annotations

import argparse
import json
import os
import shlex
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from index_builder.bench import building, factories, searching
from server.machine import machine_facts

Flags = argparse.Namespace
_PACKAGES = ("faiss-cpu", "faiss-gpu", "numpy", "pyarrow", "sentence-transformers", "torch", "transformers")


def main(arguments: list[str] | None = None) -> None:
    """Run one measurement and print it with the machine, the versions and the command."""
    given = sys.argv[1:] if arguments is None else arguments
    flags = bench_parser().parse_args(given)
    facts = _facts()
    with _alone_on_stdout():
        result = flags.run(flags)
    command = shlex.join(["python", "-m", "index_builder.bench", *given])
    print(json.dumps({"command": command, "machine": facts, flags.verb: result}, indent=1))


def _facts() -> dict[str, object]:
    """The machine, how busy it is, versions, time."""
    return {
        **machine_facts(),
        "load_before": [round(load, 2) for load in os.getloadavg()],
        "versions": {name: found for name in _PACKAGES if (found := _version(name))},
        "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


@contextmanager
def _alone_on_stdout() -> Iterator[None]:
    """What libraries print meanwhile goes to standard error: Faiss does, from C++."""
    sys.stdout.flush()
    kept = os.dup(1)
    os.dup2(2, 1)
    try:
        yield
    finally:
        os.dup2(kept, 1)
        os.close(kept)


def bench_parser() -> argparse.ArgumentParser:
    """All measurements and their flags."""
    whole = argparse.ArgumentParser(prog="python -m index_builder.bench", description=__doc__)
    verbs = whole.add_subparsers(dest="verb", required=True)
    _add_building(verbs)
    _add_searching(verbs)
    return whole


def _add_building(verbs: Any) -> None:
    verb = verbs.add_parser("parsing", help="dump to documents, MB/s on one core")
    verb.add_argument("--source", default="sample")
    verb.set_defaults(run=lambda flags: building.measure_parsing(flags.source))
    verb = verbs.add_parser("fidelity", help="what a reader of a wiki page sees, by kind of markup")
    verb.add_argument("--cases", type=Path, default=Path("tests/data/wikitext_fidelity.jsonl"))
    verb.add_argument("--source", default="sample")
    verb.set_defaults(run=lambda flags: building.measure_fidelity(flags.cases, flags.source))
    verb = verbs.add_parser("encoding", help="the embedding stage beside bare SentenceTransformer.encode")
    verb.add_argument("--source", default="sample")
    verb.add_argument("--encoder", default="sample")
    verb.add_argument("--passages", type=int, default=2048)
    verb.add_argument("--rounds", type=int, default=2)
    verb.set_defaults(
        run=lambda flags: building.measure_encoding(
            flags.source, flags.encoder, flags.passages, num_rounds=flags.rounds
        )
    )
    verb = verbs.add_parser("memory", help="peak memory of builds from a sample repeated 10 and 100 times")
    verb.add_argument("--pages", type=int, default=211, help="of the sample, from its beginning")
    verb.add_argument("--repeats", type=int, nargs="+", default=[10, 100])
    verb.add_argument("--encoder", default=building.STAND_IN, help="or a real one, which takes much longer")
    verb.set_defaults(run=lambda flags: building.measure_memory(flags.pages, flags.repeats, flags.encoder))
    verb = verbs.add_parser("update", help="updates of a few documents beside the build of all, each by a command")
    verb.add_argument("--repeats", type=int, default=1, help="of the sample, in other words each time")
    verb.add_argument("--percent", type=float, default=1.0, help="of the pages that have changed")
    verb.add_argument("--encoder", default="sample", help="or `static`, which takes next to no time")
    verb.set_defaults(run=lambda flags: building.measure_update(flags.repeats, flags.percent, flags.encoder))


def _add_searching(verbs: Any) -> None:
    verb = verbs.add_parser("large", help="an index of many synthetic vectors: build, recall, latency, opening")
    verb.add_argument("--vectors", type=int, default=1_000_000)
    verb.add_argument("--dimension", type=int, default=384)
    verb.add_argument("--index", default="auto", choices=["auto", "flat", "ivfpq", "hnsw"])
    verb.add_argument("--out", type=Path, help="kept; a temporary folder")
    verb.set_defaults(run=_run_large)
    verb = verbs.add_parser(
        "factories", help="kinds of index on the same vectors: build, size, recall, time of a query"
    )
    verb.add_argument("--vectors", type=int, default=1_000_000)
    verb.add_argument("--dimension", type=int, default=768)
    verb.add_argument("--factory", nargs="+", default=["ours"], help="Faiss' names; `ours`: what the builder chooses")
    verb.add_argument("--per-list", type=int, default=64, help="vectors that each list is trained on")
    verb.add_argument("--iterations", type=int, default=10, help="of the training")
    verb.add_argument("--threads", type=int, nargs="+", help="only: one query by so many threads, with what is built")
    verb.add_argument("--out", type=Path, required=True, help="kept: a second run measures what is missing")
    verb.set_defaults(run=_run_factories)
    verb = verbs.add_parser("opening", help="time and memory of opening an index beside its encoder")
    verb.add_argument("--index", type=Path, required=True)
    verb.add_argument("--encoder", default="sample")
    verb.set_defaults(run=lambda flags: searching.measure_opening(flags.index, flags.encoder))
    verb = verbs.add_parser("concurrency", help="many searches at once beside one at a time")
    verb.add_argument("--index", type=Path, required=True)
    verb.add_argument("--encoder", default="sample")
    verb.add_argument("--searches", type=int, default=100)
    verb.add_argument("--rounds", type=int, default=3)
    verb.set_defaults(
        run=lambda flags: searching.measure_concurrency(
            flags.index, flags.encoder, flags.searches, num_rounds=flags.rounds
        )
    )
    verb = verbs.add_parser("questions", help="how often the right article and passage answer questions")
    verb.add_argument("--index", type=Path, required=True)
    verb.add_argument("--encoder", default="sample")
    verb.add_argument("--questions", type=Path, required=True, help='lines of {"question", "title", "answers"}')
    verb.set_defaults(run=lambda flags: searching.measure_questions(flags.index, flags.encoder, flags.questions))
    verb = verbs.add_parser("conversations", help="how often the questions of conversations find their passage")
    verb.add_argument("--index", type=Path, required=True)
    verb.add_argument("--encoder", default="sample")
    verb.add_argument(
        "--conversations", type=Path, required=True, help="lines of {turns}: question, kind, title, answers"
    )
    verb.set_defaults(
        run=lambda flags: searching.measure_conversations(flags.index, flags.encoder, flags.conversations)
    )


def _run_large(flags: Flags) -> dict[str, object]:
    if flags.out:
        return factories.measure_large(flags.out, flags.vectors, flags.dimension, kind=flags.index)
    with tempfile.TemporaryDirectory() as folder:
        return factories.measure_large(Path(folder), flags.vectors, flags.dimension, kind=flags.index)


def _run_factories(flags: Flags) -> dict[str, object]:
    if flags.threads:
        return factories.measure_threads(flags.out, flags.threads)
    train = factories.Training(flags.per_list, flags.iterations)
    return factories.measure_factories(flags.out, flags.vectors, flags.dimension, names=flags.factory, train=train)


if __name__ == "__main__":
    main()
