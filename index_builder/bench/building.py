"""Peak memory of whole builds from a part of the sample, repeated more and less often."""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Pooling, Transformer
from transformers import AutoTokenizer, BertConfig, BertModel

from index_builder.documents import ReadReport
from index_builder.documents.source import open_source
from index_builder.documents.wiki.mediawiki import RawPage, raw_pages
from server.retrieval.encoder.source import SAMPLE, encoder_path

STAND_IN = "stand-in"
_HEAD = b"<mediawiki><siteinfo><base>https://wiki.example/wiki/Main_Page</base></siteinfo>\n"
_ID = re.compile(rb"<id>(\d+)</id>")
_COPY_IDS = 1_000_000_000


def measure(num_pages: int, repeats: list[int], encoder: str) -> dict[str, object]:
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


def _write_dump(path: Path, pages: list[RawPage], count: int) -> None:
    """The pages again and again, every copy with ids of its own."""
    with path.open("wb") as file:
        file.write(_HEAD)
        for copy in range(count):
            for page in pages:
                start = max(page.xml.find(b"<page>"), 0)
                own = _ID.search(page.xml, start)
                assert own is not None, page.xml[:200]
                file.write(page.xml[start : own.start(1)])
                file.write(b"%d" % (int(own[1]) + copy * _COPY_IDS) + page.xml[own.end(1) :])
        file.write(b"</mediawiki>\n")


def _build(dump: Path, encoder: str) -> dict[str, object]:
    out = dump.with_suffix(".index")
    flags = ["--source", str(dump), "--encoder", encoder, "--out", str(out), "--workers", "1"]
    started = time.perf_counter()
    command = [sys.executable, "-m", "index_builder", "--quiet", "build", *flags]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"the build ended with status {done.returncode}: {done.stderr[-500:]}")
    return {"seconds": round(time.perf_counter() - started, 1), **_reported(done.stdout)}


def _reported(report: str) -> dict[str, object]:
    """Counts, and the peaks of the stages and of all, from the build's report."""
    documents, passages = re.search(r"documents (\d+), passages (\d+)", report).groups()  # type: ignore[union-attr]
    stages = dict(re.findall(r"^  (\w+) .* peak memory (\d+) MiB", report, re.MULTILINE))
    (peak,) = re.findall(r"^  peak memory of all, (\d+) MiB", report, re.MULTILINE)
    return {
        "documents": int(documents),
        "passages": int(passages),
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
