"""Published passages as a shard of ours: their columns, and the words of each."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice

import pyarrow as pa

from index_builder.importing.rows import PublishedPassage
from index_builder.passages.batch import SHARD_SCHEMA
from index_builder.passages.sentences import sentence_spans
from server.retrieval.index.lexical_index import OPENING, SENTENCE
from server.retrieval.index.terms import TermReader


@dataclass(frozen=True)
class PassageRun:
    """The passages of shard `number`."""

    number: int
    passages: tuple[PublishedPassage, ...]


def runs(passages: Iterable[PublishedPassage], shard_passages: int) -> Iterator[PassageRun]:
    """`passages` in runs of `shard_passages`, the last one shorter."""
    iterator = iter(passages)
    number = 0
    while run := tuple(islice(iterator, shard_passages)):
        yield PassageRun(number, run)
        number += 1


@dataclass(frozen=True)
class RunReader:
    """Reads the words of a run; callable in any process."""

    language: str

    def __call__(self, run: PassageRun) -> tuple[PassageRun, pa.Table]:
        """The run and its shard."""
        reader = TermReader(self.language)
        rows = [self._row(passage, reader) for passage in run.passages]
        return run, pa.Table.from_pylist(rows, schema=SHARD_SCHEMA)

    def _row(self, passage: PublishedPassage, reader: TermReader) -> dict[str, object]:
        text = passage.text
        sentences = (reader.terms(text[start:end]) for start, end in sentence_spans(text, self.language))
        marked = (term for sentence in sentences for term in (SENTENCE, *sentence))
        return {
            "passage_id": f"{passage.document_id}:{passage.ordinal}",
            "document_id": passage.document_id,
            "title": passage.title,
            "section": "",
            "text": text,
            "url": passage.url,
            "start": passage.start,
            "end": passage.start + len(text),
            "terms": [*([] if passage.ordinal else [OPENING]), *reader.terms(passage.title), *marked],
        }
