"""What kinds of index cost and find on the same vectors: build time, size, recall with its interval, time of a query;
and an index of many synthetic, clustered vectors, made by the stages that make any index.

The vectors of the kinds have the dimension and the spectrum of real ones: their variance falls along the principal
axes as that of the sample's passages does (the power -0.8 of the axis' number), around centres of a hundred each, all
turned at random.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import faiss
import numpy as np
import pyarrow as pa

from index_builder.embeddings import EMBEDDED
from index_builder.evaluation import Queries, evaluate, exact_neighbours, interval
from index_builder.index.faiss_index import IndexKind, choose_index, train_on, untrained
from index_builder.index.index_files import write_index_files
from index_builder.manifest import IndexDescription, encoder_facts, new_manifest, passage_facts, store_manifest
from index_builder.passages.batch import SHARD_SCHEMA
from index_builder.passages.passage_shards import PassageTotals, write_table
from index_builder.passages.window import WindowShape
from index_builder.progress import Progress, peak_mib, resident_mib
from index_builder.work_folder import WorkFolder, write_whole
from server.retrieval.encoder.encoder import Encoder
from server.retrieval.index.stored_vectors import VECTORS_FILE, StoredVectors

if TYPE_CHECKING:
    from numpy.typing import NDArray

Row = dict[str, object]

_BLOCK_ROWS = 1 << 16
_DECAY = 0.8
_ROWS_PER_CENTRE = 100
_WITHIN = 0.33  # of the variance that a row has around its centre
_NUM_QUERIES = 500
_QUERY_NOISE = 0.6  # beside the row it asks for: a cosine similarity of about 0.77, as questions have
_DEPTHS = (10, 64)
_CANDIDATES = (64, 128, 256, 512, 1024)
_BREADTHS = (32, 64, 128, 256, 512, 1024)
_FLOOR = 0.95
_TIMED_QUERIES = 200


def measure_factories(folder: Path, num_vectors: int, dimension: int, names: list[str], train: Training) -> Row:
    """Build and measure every index named that was not measured before in `folder`; all results there are.

    "ours" is what the builder chooses. Results are kept, so that a long table is made by several runs.
    """
    vectors, queries, least = _prepared(folder, num_vectors, dimension)
    for name in names:
        factory = choose_index("ivfpq", num_vectors, dimension).factory if name == "ours" else name
        path = folder / f"{factory}.json"
        if not path.exists():
            path.write_text(json.dumps(_measure(factory, folder, vectors, queries=queries, least=least, train=train)))
    return {"vectors": num_vectors, "dimension": dimension, "factories": _results(folder)}


class Training:
    """How an index is trained: samples a list, and iterations."""

    def __init__(self, per_list: int, iterations: int) -> None:
        self.per_list = per_list
        self.iterations = iterations


def measure_threads(folder: Path, threads: list[int]) -> Row:
    """Milliseconds of one query by the threads that share it, at its chosen point, for every index there is."""
    vectors, queries = StoredVectors(folder / VECTORS_FILE), np.load(folder / "queries.npy")
    found: Row = {}
    for result in _results(folder):
        index = faiss.read_index(str(folder / f"{result['factory']}.index"), faiss.IO_FLAG_MMAP_IFC)
        point = result["chosen"]
        assert isinstance(point, dict), result
        found[str(result["factory"])] = {
            str(number): _times(index, vectors, queries, point=point, threads=number) for number in threads
        }
    return {"one_query_ms_by_threads": found}


def _results(folder: Path) -> list[Row]:
    return [json.loads(path.read_text()) for path in sorted(folder.glob("*.json"))]


def _prepared(
    folder: Path, num_vectors: int, dimension: int
) -> tuple[StoredVectors, NDArray[np.float32], NDArray[np.float32]]:
    """Vectors, queries, and the least score of each query's true neighbours at every depth; made once."""
    folder.mkdir(parents=True, exist_ok=True)
    if not (folder / "least.npy").exists():
        _write_vectors(folder / VECTORS_FILE, num_vectors, dimension)
        vectors = StoredVectors(folder / VECTORS_FILE)
        generator = np.random.default_rng(7)
        rows = vectors.rows(np.sort(generator.choice(num_vectors, _NUM_QUERIES, replace=False)))
        noise = _spectral(generator, _NUM_QUERIES, dimension) @ _rotation(dimension)
        queries = _unit(rows + _QUERY_NOISE * noise / np.linalg.norm(noise, axis=1, keepdims=True) * 1.4)
        scores, _ = exact_neighbours(queries, vectors, max(_DEPTHS))
        np.save(folder / "queries.npy", queries)
        np.save(folder / "least.npy", scores[:, [depth - 1 for depth in _DEPTHS]])
    return StoredVectors(folder / VECTORS_FILE), np.load(folder / "queries.npy"), np.load(folder / "least.npy")


def _write_vectors(path: Path, num_vectors: int, dimension: int) -> None:
    generator = np.random.default_rng(11)
    turned = _rotation(dimension)
    centres = _spectral(generator, max(8, num_vectors // _ROWS_PER_CENTRE), dimension)
    matrix = np.lib.format.open_memmap(path, "w+", np.float16, (num_vectors, dimension))
    for start in range(0, num_vectors, _BLOCK_ROWS):
        size = min(_BLOCK_ROWS, num_vectors - start)
        rows = (1 - _WITHIN) ** 0.5 * centres[generator.integers(len(centres), size=size)]
        rows += _WITHIN**0.5 * _spectral(generator, size, dimension)
        matrix[start : start + size] = _unit(rows @ turned)
    matrix.flush()


def _spectral(generator: np.random.Generator, size: int, dimension: int) -> NDArray[np.float32]:
    """Rows whose variance falls along the axes as that of real vectors does."""
    scale = np.arange(1, dimension + 1, dtype=np.float32) ** (-_DECAY / 2)
    return generator.standard_normal((size, dimension), dtype=np.float32) * scale


def _rotation(dimension: int) -> NDArray[np.float32]:
    turned, _ = np.linalg.qr(np.random.default_rng(5).standard_normal((dimension, dimension)))
    found: NDArray[np.float32] = turned.astype(np.float32)
    return found


def _unit(rows: NDArray[np.float32]) -> NDArray[np.float32]:
    found: NDArray[np.float32] = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    return found


def _measure(
    factory: str,
    folder: Path,
    vectors: StoredVectors,
    queries: NDArray[np.float32],
    least: NDArray[np.float32],
    train: Training,
) -> Row:
    index, train_s = _kept(folder / f"{factory}.trained", lambda: _trained(factory, vectors, train))
    index, fill_s = _kept(folder / f"{factory}.index", lambda: _filled(index, vectors))
    points = [
        point for breadth in _BREADTHS for point in _points(index, vectors, queries, least=least, breadth=breadth)
    ]
    good = [point for point in points if point["recall_at_10_low"] >= _FLOOR and point["recall_at_64_low"] >= _FLOOR]
    best = min(good or points, key=lambda point: point["search_ms"] if good else -point["recall_at_10"])
    return {
        "factory": factory,
        "train_s": train_s,
        "train_rows_per_list": train.per_list,
        "train_iterations": train.iterations,
        "build_s": round(train_s + fill_s, 1),
        "threads": faiss.omp_get_max_threads(),
        "index_mib": round((folder / f"{factory}.index").stat().st_size / 2**20, 1),
        "bytes_a_vector": round((folder / f"{factory}.index").stat().st_size / len(vectors), 1),
        "peak_mib": peak_mib(),
        "reaches_the_floor": bool(good),
        "chosen": best | {"ms": _times(index, vectors, queries, point=best, threads=1)},
        "points": points,
    }


def _kept(path: Path, make: Callable[[], faiss.Index]) -> tuple[faiss.Index, float]:
    """What was made by an earlier run, or is made now, and the seconds it took: a long one goes on after a pause."""
    note = path.with_suffix(f"{path.suffix}.seconds")
    if not note.exists():
        started = time.perf_counter()
        index = make()
        seconds = round(time.perf_counter() - started, 1)
        faiss.write_index(index, str(path))
        note.write_text(str(seconds))
    return faiss.read_index(str(path)), float(note.read_text())


def _filled(index: faiss.Index, vectors: StoredVectors) -> faiss.Index:
    for start, block in vectors.blocks(_BLOCK_ROWS):
        if "IVF" in type(faiss.downcast_index(index)).__name__ or isinstance(index, faiss.IndexPreTransform):
            index.add_with_ids(block, np.arange(start, start + len(block)))
        else:
            index.add(block)
    return index


def _trained(factory: str, vectors: StoredVectors, train: Training) -> faiss.Index:
    index = untrained(factory, vectors.dimension)
    num_lists = 1
    if "IVF" in factory:
        inverted = faiss.extract_index_ivf(index)
        num_lists, inverted.cp.niter = inverted.nlist, train.iterations
    number = min(len(vectors), max(65536, train.per_list * num_lists))
    rows = vectors.rows(np.sort(np.random.default_rng(3).choice(len(vectors), number, replace=False)))
    if "IVF" in factory:
        train_on(index, rows, max_per_list=train.per_list)
    else:
        index.train(rows)
    return index


def _points(
    index: faiss.Index,
    vectors: StoredVectors,
    queries: NDArray[np.float32],
    least: NDArray[np.float32],
    breadth: int,
) -> list[dict[str, float]]:
    """Recall at every number of candidates, which are ranked again by their stored vectors, and Faiss' own time."""
    started = time.perf_counter()
    _, rows = index.search(queries, max(_CANDIDATES), params=_parameters(index, breadth))
    search_ms = (time.perf_counter() - started) * 1e3 / len(queries)
    exact = np.full(rows.shape, -np.inf, dtype=np.float32)
    for number, query in enumerate(queries):
        held = rows[number] >= 0
        exact[number, held] = vectors.rows(rows[number, held]) @ query
    points = []
    for candidates in _CANDIDATES:
        ranked = -np.sort(-exact[:, :candidates], axis=1)
        point: dict[str, float] = {"breadth": breadth, "candidates": candidates, "search_ms": round(search_ms, 3)}
        for place, depth in enumerate(_DEPTHS):
            found = float((ranked[:, :depth] >= least[:, place : place + 1] - 1e-5).mean())
            low, high = interval(found, len(queries))
            point |= {f"recall_at_{depth}": round(found, 4), f"recall_at_{depth}_low": round(low, 4)}
            point[f"recall_at_{depth}_high"] = round(high, 4)
        points.append(point)
    return points


def _times(
    index: faiss.Index, vectors: StoredVectors, queries: NDArray[np.float32], point: dict[str, float], threads: int
) -> dict[str, float]:
    """Milliseconds of a query alone, ranking again included; several threads share its lists."""
    faiss.omp_set_num_threads(threads)
    if faiss.try_extract_index_ivf(index) is not None:
        faiss.extract_index_ivf(index).parallel_mode = 1 if threads > 1 else 0
    parameters = _parameters(index, int(point["breadth"]))
    seconds = []
    for query in queries[:_TIMED_QUERIES]:
        started = time.perf_counter()
        _, rows = index.search(query[None], int(point["candidates"]), params=parameters)
        _ = vectors.rows(rows[0][rows[0] >= 0]) @ query
        seconds.append(time.perf_counter() - started)
    return {f"p{share}": round(float(np.percentile(seconds, share)) * 1e3, 2) for share in (50, 95)}


def _parameters(index: faiss.Index, breadth: int) -> faiss.SearchParameters:
    if isinstance(index, faiss.IndexPreTransform):
        inner = _parameters(faiss.downcast_index(index.index), breadth)
        return faiss.SearchParametersPreTransform(index_params=inner)
    if isinstance(index, faiss.IndexHNSW):
        return faiss.SearchParametersHNSW(efSearch=max(breadth, 16))
    return faiss.SearchParametersIVF(nprobe=breadth)


_SHARD_ROWS = 16384
_ROWS_PER_CLUSTER = 100
_SPREAD = 0.7  # of a cluster's rows, beside centres of spread 1: cosine similarity of about 0.67 within a cluster
_PASSAGES_PER_DOCUMENT = 10
_TERMS_PER_PASSAGE = 40
_RECALL_FLOOR = 0.95
_LARGE_QUERIES = 500
_LARGE_NOISE = 0.8  # a cosine similarity of 0.78 to the row, as questions have to what answers them
_ENCODER = "sample"


def measure_large(folder: Path, num_vectors: int, dimension: int, kind: IndexKind) -> dict[str, object]:
    """Build, evaluate and open; the encoder only stands in the manifest, so `dimension` must be its own."""
    work, index, progress = WorkFolder(folder / "work"), folder / "index", Progress(quiet=True)
    _write_shards(work, num_vectors, dimension)
    started = time.perf_counter()
    facts, names = write_index_files(kind, work, index, progress=progress)
    build_s = time.perf_counter() - started
    totals = PassageTotals("synthetic", 0, -(-num_vectors // _PASSAGES_PER_DOCUMENT), num_passages=num_vectors)
    passages, encoder = passage_facts(totals, WindowShape(), EMBEDDED), encoder_facts(Encoder(_ENCODER))
    about = IndexDescription(
        source="synthetic",
        fingerprint="none",
        encoder=encoder,
        passages=passages,
        index=facts,
        file_names=names,
        score_floor=-1.0,
    )
    store_manifest(index, new_manifest(index, about, progress))
    manifest, chosen = evaluate(index, _RECALL_FLOOR, _queries(index), progress=progress)
    return {
        "vectors": num_vectors,
        "dimension": dimension,
        "factory": manifest.index.factory,
        "reason": manifest.index.reason,
        "build_s": round(build_s, 1),
        "evaluate_s": progress.costs["evaluate"].seconds,
        "build_and_evaluate_peak_mib": progress.peak_mib,
        "resident_mib": round(resident_mib(), 1),
        "index_mib": round(sum(file.num_bytes for file in manifest.files.values()) / 2**20, 1),
        "chosen": {
            "breadth": chosen.breadth,
            "num_candidates": chosen.num_candidates,
            "recall": manifest.index.recall,
            "latency_ms": manifest.index.latency_ms,
        },
        "sweep": manifest.index.sweep,
        "opening": _opened_elsewhere(index),
    }


def _queries(index: Path) -> Queries:
    """Stored rows moved a little: synthetic vectors have no questions."""
    vectors = StoredVectors(index / VECTORS_FILE)
    generator = np.random.default_rng(7)
    rows = np.sort(generator.choice(len(vectors), min(_LARGE_QUERIES, len(vectors)), replace=False))
    noise = generator.standard_normal((len(rows), vectors.dimension), dtype=np.float32)
    found = vectors.rows(rows) + _LARGE_NOISE * noise / np.linalg.norm(noise, axis=1, keepdims=True)
    return Queries(found / np.linalg.norm(found, axis=1, keepdims=True), "stored vectors, moved")


def _opened_elsewhere(index: Path) -> object:
    command = [sys.executable, "-m", "index_builder.bench", "opening", "--index", str(index), "--encoder", _ENCODER]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return json.loads(done.stdout)["opening"]


def _write_shards(work: WorkFolder, num_vectors: int, dimension: int) -> None:
    generator = np.random.default_rng(11)
    centres = generator.standard_normal((max(8, num_vectors // _ROWS_PER_CLUSTER), dimension), dtype=np.float32)
    for number, start in enumerate(range(0, num_vectors, _SHARD_ROWS)):
        size = min(_SHARD_ROWS, num_vectors - start)
        rows = _rows(generator, centres, size)
        write_whole(work.vector_shard(number), partial(_save, matrix=rows))
        table = _passages(generator, start, size)
        write_whole(work.passage_shard(number), partial(write_table, table=table))


def _save(path: Path, matrix: NDArray[np.float16]) -> None:
    with path.open("wb") as file:
        np.save(file, matrix)


def _rows(generator: np.random.Generator, centres: NDArray[np.float32], size: int) -> NDArray[np.float16]:
    rows = centres[generator.integers(len(centres), size=size)]
    rows = rows + _SPREAD * generator.standard_normal(rows.shape, dtype=np.float32)
    unit: NDArray[np.float16] = (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float16)
    return unit


def _passages(generator: np.random.Generator, start: int, size: int) -> pa.Table:
    numbers = range(start, start + size)
    offsets = pa.array(np.arange(size + 1, dtype=np.int32) * _TERMS_PER_PASSAGE)
    terms = pa.array(generator.integers(16, 1 << 20, size * _TERMS_PER_PASSAGE, dtype=np.uint32))
    columns = {
        "passage_id": [f"{n // _PASSAGES_PER_DOCUMENT}:{n % _PASSAGES_PER_DOCUMENT}" for n in numbers],
        "document_id": [str(n // _PASSAGES_PER_DOCUMENT) for n in numbers],
        "title": [f"Document {n // _PASSAGES_PER_DOCUMENT}" for n in numbers],
        "section": [""] * size,
        "text": [f"Passage {n} says nothing, at the length of three sentences. " * 4 for n in numbers],
        "url": [""] * size,
        "start": [0] * size,
        "end": [240] * size,
        "fields": [""] * size,
        "terms": pa.ListArray.from_arrays(offsets, terms),
        "digest": [None] * size,
    }
    return pa.table(columns, schema=SHARD_SCHEMA)
