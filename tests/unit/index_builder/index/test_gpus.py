"""GPUs that are there are used; one that refuses an index is told of, and the processor fills it."""

from __future__ import annotations

import os
import threading
from pathlib import Path
from types import SimpleNamespace

import faiss
import pytest

from index_builder import embeddings
from index_builder.embeddings import EmbedPlan, EmbedRequest, embed_passages, plan_embedding
from index_builder.index import faiss_index
from index_builder.index.faiss_index import choose_index
from index_builder.index.index_files import write_faiss_index
from index_builder.processes import Workers
from index_builder.progress import Progress
from index_builder.work_folder import WorkFolder, WorkFolderError
from server.retrieval.index.vector_index import INDEX_FILE
from tests.unit.index_builder.vectors import clustered, write_shards

QUIET = Progress(quiet=True)


def filled(folder: Path) -> bytes:
    shards = write_shards(folder / "vectors", clustered(2000, 32), [500] * 4)
    write_faiss_index(choose_index("ivfpq", 2000, 32), shards, WorkFolder(folder / "work"), folder, QUIET)
    return (folder / INDEX_FILE).read_bytes()


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> list[SimpleNamespace]:
    """Stands in for faiss's GPU part, which is not in faiss-cpu; the options it was given."""
    given: list[SimpleNamespace] = []

    def to_gpu(resources: object, device: int, index: faiss.Index, options: SimpleNamespace) -> faiss.Index:
        given.append(options)
        return index

    monkeypatch.setattr(faiss, "get_num_gpus", lambda: 1)
    monkeypatch.setattr(faiss, "StandardGpuResources", object, raising=False)
    monkeypatch.setattr(faiss, "GpuClonerOptions", SimpleNamespace, raising=False)
    monkeypatch.setattr(faiss, "index_cpu_to_gpu", to_gpu, raising=False)
    monkeypatch.setattr(faiss, "index_cpu_to_all_gpus", lambda index: index, raising=False)
    monkeypatch.setattr(faiss, "index_gpu_to_cpu", lambda index: index, raising=False)
    return given


def test_lists_are_filled_on_a_gpu_with_tables_in_half_precision(tmp_path: Path, gpu: list[SimpleNamespace]) -> None:
    filled(tmp_path)
    assert gpu
    assert all(options == SimpleNamespace(useFloat16=True, allowCpuCoarseQuantizer=True) for options in gpu)


def test_every_gpu_fills_runs_with_resources_that_are_made_once(
    tmp_path: Path, gpu: list[SimpleNamespace], monkeypatch: pytest.MonkeyPatch
) -> None:
    used: list[tuple[object, int]] = []
    made: list[object] = []
    together = threading.Barrier(2, timeout=60)

    def to_gpu(resources: object, device: int, index: faiss.Index, options: object) -> faiss.Index:
        used.append((resources, device))
        together.wait()  # both GPUs work at the same time
        return index

    monkeypatch.setattr(faiss, "get_num_gpus", lambda: 2)
    monkeypatch.setattr(faiss, "StandardGpuResources", lambda: made.append(object()) or made[-1])
    monkeypatch.setattr(faiss, "index_cpu_to_gpu", to_gpu)
    monkeypatch.setattr(faiss_index, "SHARD_VECTORS", 500)
    filled(tmp_path)
    assert sorted({device for _, device in used}) == [0, 1]
    assert len(used) % 2 == 0
    assert len(made) == 2
    assert {each for each, _ in used} == set(made)


def test_what_a_gpu_refuses_is_filled_by_the_processor_and_the_reason_logged(
    tmp_path: Path, gpu: list[SimpleNamespace], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(*_: object) -> None:
        raise RuntimeError("Error in GpuIndexIVFPQ\nmore")

    (tmp_path / "gpu").mkdir()
    expected = filled(tmp_path / "gpu")
    monkeypatch.setattr(faiss, "index_cpu_to_gpu", refuse)
    monkeypatch.setattr(faiss_index, "SHARD_VECTORS", 500)  # several runs
    (tmp_path / "cpu").mkdir()
    assert len(filled(tmp_path / "cpu")) == pytest.approx(len(expected), abs=100)
    assert caplog.text.count("index.fill_on_cpu gpu=0 reason=Error in GpuIndexIVFPQ") == 1, "it is not asked again"


@pytest.mark.parametrize(
    ("visible", "count", "names"),
    [
        (None, 2, ("0", "1")),
        ("", 2, ("0", "1")),
        ("4,6", 2, ("4", "6")),
        ("GPU-ab12, GPU-cd34", 2, ("GPU-ab12", "GPU-cd34")),
        ("3,-1,5", 1, ("3",)),
    ],
)
def test_children_use_the_gpus_that_this_process_may_use(
    monkeypatch: pytest.MonkeyPatch, visible: str | None, count: int, names: tuple[str, ...]
) -> None:
    torch = pytest.importorskip("torch")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: count)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    plan = plan_embedding(EmbedRequest("sample", "float32"), Workers())
    assert (plan.gpus, plan.num_processes, plan.device()) == (names, count, "cuda")


def test_more_processes_than_gpus_share_them(monkeypatch: pytest.MonkeyPatch) -> None:
    found: list[tuple[str, str]] = []
    monkeypatch.setattr(
        embeddings,
        "Encoder",
        lambda name, device, precision: found.append((os.environ["CUDA_VISIBLE_DEVICES"], device)),
    )
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,6")
    plan = EmbedPlan("sample", "float32", 3, ("4", "6"))
    for rank in range(3):
        embeddings._encode_jobs(rank, plan, [], _Counter(), _Counter())  # type: ignore[arg-type]
    assert found == [("4", "cuda"), ("6", "cuda"), ("4", "cuda")]


def test_vectors_of_two_precisions_are_never_mixed(tmp_path: Path) -> None:
    work = WorkFolder(tmp_path)
    embed_passages(work, 0, EmbedPlan("sample", "bfloat16", 1), QUIET)
    with pytest.raises(WorkFolderError, match="begun with precision 'bfloat16', now it is 'float32'"):
        embed_passages(work, 0, EmbedPlan("sample", "float32", 1), QUIET)


class _Counter:
    """A shared number, in one process."""

    value = 0

    def get_lock(self) -> _Counter:
        return self

    def __enter__(self) -> None:
        pass

    def __exit__(self, *_: object) -> None:
        pass
