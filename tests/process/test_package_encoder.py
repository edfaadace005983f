"""An encoder whose weights are pickled, as many on the hub are, becomes a folder that the server loads."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from container.artifacts.folders import check_encoder
from container.refusal import Refusal
from deploy.__main__ import main
from index_builder.__main__ import main as build_index
from server.config import Settings
from server.retrieval.encoder.encoder import Encoder
from server.retrieval.encoder.source import encoder_path
from server.retrieval.from_settings import open_retriever
from server.retrieval.query import Query

TEXTS = ["Who was Abraham Lincoln?", "The Eiffel Tower stands in Paris."]


@pytest.fixture
def pickled(tmp_path: Path) -> Path:
    folder = tmp_path / "pickled"
    shutil.copytree(encoder_path("sample"), folder)
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    return folder


def test_the_packaged_encoder_gives_the_same_vectors_and_is_taken_by_the_server(pickled: Path, tmp_path: Path) -> None:
    with pytest.raises(Refusal, match="deploy package --encoder"):
        check_encoder("OCK_ENCODER", pickled)
    assert main(["package", "--encoder", str(pickled), "--out", str(tmp_path / "out")]) == 0
    made = tmp_path / "out" / "encoder"
    check_encoder("OCK_ENCODER", made)
    assert not list(made.rglob("*.bin"))
    assert set(json.loads((made / "manifest.json").read_text())["files"]) >= {"config.json", "model.safetensors"}
    assert np.array_equal(Encoder(str(made), device="cpu").encode(TEXTS), Encoder("sample", device="cpu").encode(TEXTS))


def test_a_pickle_that_holds_more_than_tensors_is_refused(pickled: Path, tmp_path: Path, capsys) -> None:
    torch.save({"weight": Path("/etc/passwd")}, pickled / "pytorch_model.bin")
    assert main(["package", "--encoder", str(pickled), "--out", str(tmp_path / "out")]) == 1
    assert "cannot be read as tensors" in capsys.readouterr().err
    assert not (tmp_path / "out" / "encoder").exists()


def test_a_finished_one_is_left_alone_and_another_is_not_written_over(pickled: Path, tmp_path: Path, capsys) -> None:
    assert main(["package", "--encoder", str(pickled), "--out", str(tmp_path)]) == 0
    before = (tmp_path / "encoder" / "manifest.json").stat().st_mtime_ns
    assert main(["package", "--encoder", str(pickled), "--out", str(tmp_path)]) == 0
    assert (tmp_path / "encoder" / "manifest.json").stat().st_mtime_ns == before
    assert main(["package", "--encoder", encoder_path("sample"), "--out", str(tmp_path)]) == 1
    assert "holds another encoder" in capsys.readouterr().err


def test_a_bare_pickled_bert_becomes_an_index_that_is_searched(pickled: Path, tmp_path: Path) -> None:
    """As facebook/contriever-msmarco is published: weights in a pickle, and nothing of sentence-transformers beside."""
    for path in pickled.iterdir():
        if path.is_dir():
            shutil.rmtree(path)
        elif "sentence" in path.name or path.name in ("modules.json", "README.md"):
            path.unlink()
    assert {"config.json", "pytorch_model.bin", "tokenizer.json"} <= {path.name for path in pickled.iterdir()}
    assert main(["package", "--encoder", str(pickled), "--out", str(tmp_path)]) == 0
    encoder, documents, index = tmp_path / "encoder", tmp_path / "documents", tmp_path / "index"
    documents.mkdir()
    (documents / "owls.md").write_text("# Owls\n\nOwls hunt at night. They eat mice and small birds.\n")
    (documents / "trains.md").write_text("# Trains\n\nTrains run on rails. The first railway opened in 1825.\n")
    assert (
        build_index(["--quiet", "build", "--source", str(documents), "--encoder", str(encoder), "--out", str(index)])
        == 0
    )
    retriever = open_retriever(Settings(index=str(index), encoder=str(encoder), score_floor=-1.0))
    assert retriever is not None
    try:
        (found,) = retriever.search(Query("What do owls eat?", 1, 0, threshold=1.0))
    finally:
        retriever.close()
    assert found.title == "Owls"
