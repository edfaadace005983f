"""What building costs: parsing, with how much of what a reader of a wiki page sees is in its text; the embedding stage
beside bare SentenceTransformer.encode; peak memory of whole builds; updates.
"""

from __future__ import annotations

import json
import re
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Pooling, StaticEmbedding, Transformer
from transformers import AutoTokenizer, BertConfig, BertModel

from index_builder.documents import ReadReport, SkippedError
from index_builder.documents.source import Source, open_source
from index_builder.documents.wiki.mediawiki import RawPage, page_markup, parse_page, raw_pages
from index_builder.documents.wiki.wikitext import read_markup
from index_builder.embeddings import embedded_texts, write_vectors
from index_builder.existing.old_index import OldIndex
from index_builder.passages.batch import BatchCutter, item_batches
from index_builder.passages.passage_shards import write_table
from index_builder.passages.window import WindowShape
from server.retrieval.encoder.encoder import Encoder
from server.retrieval.encoder.source import SAMPLE, encoder_path
from server.retrieval.index.inverted_words import WORDS_FILE
from server.retrieval.index.lexical_index import TERMS_FILE
from server.retrieval.index.terms import TermReader

STAND_IN = "stand-in"
STATIC = "static"
_HEAD = b"<mediawiki><siteinfo><base>https://wiki.example/wiki/Main_Page</base></siteinfo>\n"
_ID = re.compile(rb"<id>(\d+)</id>")
_COPY_IDS = 1_000_000_000
_LONG_WORD = re.compile(rb"(?<![\w<&/{|=])[A-Z]?[a-z]{6,20}(?![\w>;=|}])")  # outside of markup
_SHARD_PASSAGES = 1024
_MARK = b"qzxw"
_TEXT_BEGINS = re.compile(rb"<text\b[^<>]*>(?!\s*#)")  # of pages that lead nowhere else
_MARKS = re.compile(_MARK + rb"\d+")
_WORD_FILES = (TERMS_FILE, WORDS_FILE)


def measure_memory(num_pages: int, repeats: list[int], encoder: str) -> dict[str, object]:
    """Builds by one process each, from the first to the last stage; the ratio is of the largest to the smallest."""
    (path,) = open_source("sample").files
    pages = list(raw_pages(path, ReadReport()))[:num_pages]
    builds = []
    with tempfile.TemporaryDirectory() as folder:
        name = str(write_stand_in(Path(folder) / "encoder")) if encoder == STAND_IN else encoder
        for count in repeats:
            dump = Path(folder) / f"{count}.xml"
            _write_dump(dump, pages, count)
            builds.append({"repeats": count, "source_mb": round(dump.stat().st_size / 1e6, 1), **_build(dump, name)})
            dump.unlink()
    peaks = [float(str(build["peak_mib"])) for build in builds]
    return {"pages": len(pages), "encoder": encoder, "builds": builds, "ratio": round(max(peaks) / min(peaks), 3)}


def measure_update(repeats: int, percent: float, encoder: str) -> dict[str, object]:
    """A build of the sample, repeated in other words each time, and, each from that index: an update to a source of
    which so many percent of the pages have another sentence; those pages alone added; as many forgotten.
    """
    (path,) = open_source("sample").files
    pages = list(raw_pages(path, ReadReport()))
    changed = Change(len(pages) * repeats, round(100 / percent))
    with tempfile.TemporaryDirectory() as named:
        folder = Path(named)
        name = str(_write_static(folder / "encoder")) if encoder == STATIC else encoder
        index, dump, few, ids = (folder / each for each in ("index", "sample.xml", "few.xml", "ids"))
        _write_dump(dump, pages, repeats)
        _write_dump(few, pages, repeats, changed, only_changed=True)
        built = _run("build", "--source", str(dump), "--encoder", name, "--out", str(index), *_ANY_RECALL)
        known = set(OldIndex(index).document_ids)
        ids.write_text("\n".join(each for each in _page_ids(few) if each in known))
        _write_dump(dump, pages, repeats, changed)
        marks = {b"%s%d" % (_MARK, number) for number in range(changed.every, changed.num_pages + 1, changed.every)}
        given = {"source": ("--source", dump), "add": ("--add", few), "forget": ("--forget-file", ids)}
        updates: dict[str, dict[str, object]] = {}
        for kind, (flag, argument) in given.items():
            mine = shutil.copytree(index, folder / kind)
            found = _run("update", flag, str(argument), "--encoder", name, "--index", str(mine), *_ANY_RECALL)
            updates[kind] = found | {
                f"share_of_{unit}": round(float(str(found[unit])) / float(str(built[unit])), 4)
                for unit in ("seconds", "cpu_seconds")
            }
        traces = {name: _traces(folder / name, marks) for name in ("index", "forget")}
    return {
        "repeats": repeats,
        "percent": percent,
        "encoder": encoder,
        "build": built,
        "updates": updates,
        "forgotten_pages_of_which_a_word_is_in_some_file": {"before": traces["index"], "after": traces["forget"]},
    }


def _traces(index: Path, marks: set[bytes]) -> int:
    """How many of these marks, a word of one page each, stand in any file, as letters or as numbers of words."""
    files = [path for path in index.rglob("*") if path.is_file()]
    written = {mark for path in files for mark in _MARKS.findall(path.read_bytes())}
    reader = TermReader("en")
    words = {int(number) for path in files if path.name in _WORD_FILES for number in np.load(path)}
    return sum(mark in written or not words.isdisjoint(reader.terms(mark.decode())) for mark in marks)


@dataclass(frozen=True)
class Change:
    """Every how many of the pages of a dump one has another sentence."""

    num_pages: int
    every: int


def _write_dump(
    path: Path, pages: list[RawPage], count: int, change: Change | None = None, *, only_changed: bool = False
) -> None:
    """The pages again and again, every copy with ids and long words of its own; some of them with another sentence."""
    number = 0
    with path.open("wb") as file:
        file.write(_HEAD)
        for copy in range(count):
            for page in pages:
                number += 1
                start = max(page.xml.find(b"<page>"), 0)
                own = _ID.search(page.xml, start)
                assert own is not None, page.xml[:200]
                begins, rest = page.xml[start : own.start(1)], page.xml[own.end(1) :]
                if copy:
                    begins, rest = (_LONG_WORD.sub(rb"\g<0>%s" % _letters(copy), part) for part in (begins, rest))
                is_changed = change is not None and not number % change.every
                said = b"The mark of this page is %s%d. " % (_MARK, number)
                said += b"It was changed by its editors. " if is_changed else b""
                rest = _TEXT_BEGINS.sub(rb"\g<0>" + said, rest, count=1)
                if is_changed or not only_changed:
                    file.write(begins + b"%d" % (int(own[1]) + copy * _COPY_IDS) + rest)
        file.write(b"</mediawiki>\n")


def _page_ids(dump: Path) -> list[str]:
    """The first id of every page."""
    return [page.split(b"<id>")[1].split(b"<")[0].decode() for page in dump.read_bytes().split(b"<page>")[1:]]


def _letters(copy: int) -> bytes:
    """What the long words of a copy end with."""
    return bytes([97 + copy % 26, 97 + copy // 26 % 26])


def _write_static(folder: Path) -> Path:
    """An encoder that looks a vector up for every token and takes their mean, at `folder`."""
    torch.manual_seed(0)
    tokenizer = AutoTokenizer.from_pretrained(encoder_path(SAMPLE))
    module = StaticEmbedding(
        tokenizer.backend_tokenizer, embedding_weights=torch.randn(len(tokenizer), _DIMENSION).numpy()
    )
    SentenceTransformer(modules=[module], device="cpu").save(str(folder))
    return folder


def _build(dump: Path, encoder: str) -> dict[str, object]:
    out = dump.with_suffix(".index")
    return _run("build", "--source", str(dump), "--encoder", encoder, "--out", str(out), "--workers", "1")


_ANY_RECALL = ("--workers", "1", "--recall-floor", "0.5")  # vectors drawn at random have no neighbours to speak of


def _run(*arguments: str) -> dict[str, object]:
    """One command of the builder in a process of its own, and what it reports."""
    started, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
    command = [sys.executable, "-m", "index_builder", "--quiet", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{arguments[0]} ended with status {done.returncode}: {done.stderr[-500:]}")
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu_s = used.ru_utime + used.ru_stime - before.ru_utime - before.ru_stime
    seconds = time.perf_counter() - started
    return {"seconds": round(seconds, 1), "cpu_seconds": round(cpu_s, 1), **_reported(done.stdout)}


def _reported(report: str) -> dict[str, object]:
    """Counts, seconds of the stages, and the peaks of the stages and of all, from the report of a build."""
    documents, passages = re.search(r"documents (\d+), passages (\d+)", report).groups()  # type: ignore[union-attr]
    seconds = dict(re.findall(r"^  (\w+) +([\d.]+) s   peak memory", report, re.MULTILINE))
    stages = dict(re.findall(r"^  (\w+) .* peak memory (\d+) MiB", report, re.MULTILINE))
    (peak,) = re.findall(r"^  peak memory of all, (\d+) MiB", report, re.MULTILINE)
    return {
        "documents": int(documents),
        "passages": int(passages),
        "seconds_of": {stage: float(taken) for stage, taken in seconds.items()},
        "peak_mib_of": {stage: int(mib) for stage, mib in stages.items()},
        "peak_mib": int(peak),
    }


_DIMENSION = 384
_LAYERS, _HEADS, _INNER, _MAX_TOKENS = 1, 4, 64, 256


def write_stand_in(folder: Path) -> Path:
    """A random BERT of one thin layer with the sample encoder's tokenizer and dimension, at `folder`."""
    torch.manual_seed(0)
    tokenizer = AutoTokenizer.from_pretrained(encoder_path(SAMPLE))
    config = BertConfig(
        vocab_size=len(tokenizer),
        hidden_size=_DIMENSION,
        num_hidden_layers=_LAYERS,
        num_attention_heads=_HEADS,
        intermediate_size=_INNER,
    )
    bert = folder / "bert"
    BertModel(config).save_pretrained(bert)
    tokenizer.save_pretrained(bert)
    transformer = Transformer(str(bert), max_seq_length=_MAX_TOKENS)
    SentenceTransformer(modules=[transformer, Pooling(_DIMENSION)], device="cpu").save(str(folder / "encoder"))
    return folder / "encoder"


def measure_encoding(source_name: str, encoder_name: str, num_passages: int, num_rounds: int) -> dict[str, object]:
    """Passages/s of both, taken in turns; the best round of each counts, since the machine may be busy."""
    table = _passages(source_name, num_passages)
    encoder = Encoder(encoder_name, "cpu", num_threads=1)
    bare = SentenceTransformer(encoder_path(encoder_name), device="cpu")
    texts = embedded_texts(table)
    stage_s, bare_s = [], []
    with tempfile.TemporaryDirectory() as folder:
        shards = _write_shards(table, Path(folder))
        for _ in range(num_rounds):
            started = time.perf_counter()
            found = bare.encode(texts, normalize_embeddings=True, show_progress_bar=False)
            bare_s.append(time.perf_counter() - started)
            started = time.perf_counter()
            for shard in shards:
                write_vectors(shard, shard.with_suffix(".npy"), encoder)
            stage_s.append(time.perf_counter() - started)
        ours = np.concatenate([np.load(shard.with_suffix(".npy")) for shard in shards]).astype(np.float32)
    return {
        "passages": len(texts),
        "encoder": encoder_name,
        "threads": 1,
        "bare_seconds": [round(seconds, 2) for seconds in bare_s],
        "stage_seconds": [round(seconds, 2) for seconds in stage_s],
        "bare_passages_per_s": round(len(texts) / min(bare_s), 1),
        "stage_passages_per_s": round(len(texts) / min(stage_s), 1),
        "stage_over_bare": round(min(bare_s) / min(stage_s), 3),
        "lowest_cosine_similarity": round(float((ours * found).sum(axis=1).min()), 6),
    }


def _passages(source_name: str, num_passages: int) -> pa.Table:
    """Passages spread over the whole source."""
    source = open_source(source_name)
    cutter = BatchCutter(source, WindowShape())
    table = pa.Table.from_batches([cutter(batch).rows for batch in item_batches(source.items(ReadReport()), 0)])
    return table.take(np.linspace(0, table.num_rows - 1, min(num_passages, table.num_rows)).astype(np.int64))


def _write_shards(table: pa.Table, folder: Path) -> list[Path]:
    paths = []
    for start in range(0, table.num_rows, _SHARD_PASSAGES):
        paths.append(folder / f"{start}.arrow")
        write_table(paths[-1], table.slice(start, _SHARD_PASSAGES).combine_chunks())
    return paths


_WORD = re.compile(r"\w+")
_REFERENCES = re.compile(r"<ref\b[^<>]*?/>|<ref\b.*?</ref>|<!--.*?-->", re.DOTALL | re.IGNORECASE)
_MIN_SECONDS = 5.0


def measure_fidelity(cases: Path, source: str) -> dict[str, object]:
    """Cases by kind, ours and mwparserfromhell's strip; and the words of a dump that its strip has and ours lacks."""
    return {"cases": cases_by_kind(cases), "dump": _words_of(source)}


def cases_by_kind(cases: Path) -> dict[str, dict[str, str]]:
    """For every kind of markup, how many parts of all its cases are right: by our reading, and by the other's."""
    found: dict[str, list[tuple[int, int, int]]] = {}
    for line in cases.read_text().splitlines():
        case = json.loads(line)
        wanted = len(case["seen"]) + len(case.get("unseen", []))
        counts = (_right(_ours(case["markup"]), case), _right(_stripped(case["markup"]), case), wanted)
        found.setdefault(case["kind"], []).append(counts)
    sums = {kind: [sum(column) for column in zip(*counts, strict=True)] for kind, counts in found.items()}
    return {
        kind: {"ours": f"{ours}/{wanted}", "mwparserfromhell": f"{theirs}/{wanted}"}
        for kind, (ours, theirs, wanted) in sums.items()
    }


def _right(text: str, case: dict[str, list[str]]) -> int:
    flat = " ".join(text.split())
    return sum(part in flat for part in case["seen"]) + sum(part not in flat for part in case.get("unseen", []))


def _ours(markup: str) -> str:
    return " ".join(section.text for section in read_markup(markup).sections)


def _stripped(markup: str) -> str:
    import mwparserfromhell

    return str(mwparserfromhell.parse(markup).strip_code())


def _words_of(source: str) -> dict[str, object]:
    """Over all articles: words of each text, and the share of the other's that is in ours."""
    ours_total = theirs_total = common = 0
    opened = open_source(source)
    for item in opened.items(ReadReport()):
        if not isinstance(item, RawPage):
            continue
        try:
            document = parse_page(item)
        except SkippedError:
            continue
        headings = " ".join(section.heading for section in document.sections)
        ours = Counter(_WORD.findall(f"{headings} {document.text}".lower()))
        theirs = Counter(_WORD.findall(_stripped(_REFERENCES.sub("", page_markup(item))).lower()))
        ours_total += ours.total()
        theirs_total += theirs.total()
        common += (ours & theirs).total()
    return {
        "words_of_ours": ours_total,
        "words_of_mwparserfromhell": theirs_total,
        "share_of_theirs_in_ours": round(common / max(1, theirs_total), 4),
    }


def measure_parsing(source_name: str) -> dict[str, object]:
    """MB/s (10^6 bytes) of markup and of the file as it is stored, by time of the core and by the clock."""
    source = open_source(source_name)
    return {
        "source": source_name,
        "parsing": _repeated(lambda: _parse(source)),
        "parsing_and_cutting": _repeated(lambda: _cut(source)),
    }


def _repeated(work: Callable[[], ReadReport]) -> dict[str, object]:
    rounds = stored = markup = 0
    started, core_started = time.perf_counter(), time.process_time()
    while time.process_time() - core_started < _MIN_SECONDS:
        report = work()
        rounds, stored, markup = rounds + 1, stored + report.source_bytes, markup + report.markup_bytes
    core, clock = time.process_time() - core_started, time.perf_counter() - started
    return {
        "rounds": rounds,
        "documents": report.num_documents,
        "skipped": dict(report.skipped),
        "markup_mb": round(markup / rounds / 1e6, 2),
        "stored_mb": round(stored / rounds / 1e6, 2),
        "markup_mb_per_core_s": round(markup / core / 1e6, 2),
        "stored_mb_per_core_s": round(stored / core / 1e6, 2),
        "markup_mb_per_s": round(markup / clock / 1e6, 2),
        "stored_mb_per_s": round(stored / clock / 1e6, 2),
    }


def _parse(source: Source) -> ReadReport:
    report = ReadReport()
    for item in source.items(report):
        try:
            source.document(item)
        except SkippedError as skipped:
            report.skip(skipped.cause, skipped.name)
        else:
            report.num_documents += 1
    return report


def _cut(source: Source) -> ReadReport:
    report = ReadReport()
    cutter = BatchCutter(source, WindowShape())
    for batch in item_batches(source.items(report), 0):
        report.add(cutter(batch).report)
    return report
