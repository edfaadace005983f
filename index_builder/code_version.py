"""Which code reads, cuts and writes: another version may give other passages from the same source."""

from __future__ import annotations

import hashlib
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path

_PARSERS = ("index_builder.documents",)
_CUTTERS = ("index_builder.passages", "server.retrieval.index.terms")
_WRITERS = (
    "index_builder.index",
    "server.retrieval.index.passage_table",
    "server.retrieval.index.lexical_index",
    "server.retrieval.index.inverted_words",
)
_PARSER_LIBRARIES = (
    "charset-normalizer", "docutils", "lxml", "markdown-it-py", "openpyxl", "pypdf", "python-docx", "python-pptx",
    "selectolax",
)  # fmt: skip
_CUTTER_LIBRARIES = ("sentencex", "pystemmer")


def parser_version() -> str:
    """Changes with the code and libraries that turn files into documents."""
    return _digest(_PARSERS, _PARSER_LIBRARIES)


def cutter_version() -> str:
    """Changes with the code and libraries that turn documents into passages and words."""
    return _digest(_CUTTERS, _CUTTER_LIBRARIES)


def writer_version() -> str:
    """Changes with the code that lays out an index folder."""
    return _digest(_WRITERS, ())


def made_by() -> str:
    """Names the code that makes passages of a source."""
    return f"{parser_version()}-{cutter_version()}"


@cache
def _digest(modules: tuple[str, ...], libraries: tuple[str, ...]) -> str:
    digest = hashlib.sha256()
    for module in modules:
        for path in _sources(module):
            digest.update(path.name.encode() + path.read_bytes())
    for library in libraries:
        digest.update(f"{library}={_version(library)}".encode())
    return digest.hexdigest()[:16]


def _sources(module: str) -> list[Path]:
    spec = find_spec(module)
    assert spec is not None, module
    if spec.submodule_search_locations:
        return sorted(path for folder in spec.submodule_search_locations for path in Path(folder).rglob("*.py"))
    assert spec.origin is not None, module
    return [Path(spec.origin)]


def _version(library: str) -> str:
    try:
        return version(library)
    except PackageNotFoundError:
        return "none"
