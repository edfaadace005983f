"""What recall is measured on: questions as people ask them, or what comes near them, made from the passages."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from index_builder.passages.sentences import split_sentences
from server.retrieval.encoder.encoder import Encoder
from server.retrieval.index.passage_table import PassageTable
from server.retrieval.index.retriever import PASSAGES_FILE
from server.retrieval.retriever import RetrievalError

if TYPE_CHECKING:
    from numpy.typing import NDArray

NUM_QUERIES = 500
_MAX_WORDS = 8  # people ask in few words
_WORD = re.compile(r"\w")


@dataclass(frozen=True)
class Queries:
    """Unit vectors, and where they come from, for the manifest."""

    vectors: NDArray[np.float32]  # [num_queries, dimension]
    origin: str


def asked_queries(path: Path, encoder: Encoder) -> Queries:
    """The questions of a file, one a line: JSON objects with a `question`, or plain text.

    Raises:
        RetrievalError: it cannot be read, or holds none.
    """
    try:
        texts = [_question(line) for line in path.read_text().splitlines() if line.strip()]
    except (OSError, ValueError, KeyError) as error:
        raise RetrievalError(f"--questions {str(path)!r}: no questions, one a line: {error}") from error
    if not texts:
        raise RetrievalError(f"--questions {str(path)!r} holds no question")
    return Queries(encoder.encode(texts, role="query"), f"{len(texts)} questions of {path.name}")


def made_queries(folder: Path, language: str, encoder: Encoder, number: int = NUM_QUERIES) -> Queries:
    """Titles, headings and the beginnings of sentences, in turns, of passages spread over the index of `folder`."""
    table = PassageTable(folder / PASSAGES_FILE)
    try:
        rows = np.linspace(0, len(table) - 1, min(number, len(table))).astype(np.int64)
        texts = list(_made(table, rows.tolist(), language))
    finally:
        table.close()
    return Queries(encoder.encode(texts, role="query"), f"{len(texts)} titles, headings and beginnings of sentences")


def _question(line: str) -> str:
    return str(json.loads(line)["question"]) if line.lstrip().startswith("{") else line.strip()


def _made(table: PassageTable, rows: list[int], language: str) -> Iterator[str]:
    for turn, number in enumerate(rows):
        row = table.row(number)
        sentences = split_sentences(row.text, language)
        beginning = _few_words(sentences[turn // 3 % len(sentences)] if sentences else row.text)
        heading = f"{row.section.rpartition(' > ')[2]} {row.title}".strip()
        wanted = (beginning, heading, row.title)[turn % 3]
        yield wanted if _WORD.search(wanted) else beginning or row.text


def _few_words(sentence: str) -> str:
    """The beginning of a sentence; of a language that writes no spaces, some characters."""
    words = sentence.split()
    return " ".join(words[:_MAX_WORDS]) if len(words) > 1 else sentence[: 4 * _MAX_WORDS]
