from __future__ import annotations

import io
from pathlib import Path

import msgspec
import pytest

from container.artifacts.fetch import Fetcher
from container.artifacts.folders import check_encoder, check_index
from container.console import Console
from container.refusal import Refusal
from server.retrieval.index.manifest import encode_manifest
from tests.unit.index_builder.manifests import made_up_manifest


@pytest.fixture
def encoder(tmp_path: Path) -> Path:
    folder = tmp_path / "encoder"
    for name in ("config.json", "model.safetensors", "1_Pooling/config.json", "2_Dense/model.safetensors"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("{}")
    return folder


def test_an_encoder_of_safetensors_is_taken_also_with_pickles_beside_them(encoder: Path) -> None:
    (encoder / "pytorch_model.bin").touch()
    (encoder / "2_Dense" / "pytorch_model.bin").touch()
    check_encoder("OCK_ENCODER", encoder)


def test_an_encoder_whose_weights_are_pickled_is_refused_with_the_way_out(encoder: Path) -> None:
    (encoder / "model.safetensors").rename(encoder / "pytorch_model.bin")
    with pytest.raises(Refusal, match=r"no \.safetensors file beside config\.json; .*deploy package --encoder .*"):
        check_encoder("OCK_ENCODER", encoder)


def test_a_pickled_layer_of_an_encoder_is_refused_by_name(encoder: Path) -> None:
    (encoder / "2_Dense" / "model.safetensors").rename(encoder / "2_Dense" / "pytorch_model.bin")
    with pytest.raises(Refusal, match=r"2_Dense/pytorch_model\.bin is pickled; .*deploy package --encoder .*"):
        check_encoder("OCK_ENCODER", encoder)


def version(folder: Path, created: str) -> Path:
    folder.mkdir(parents=True)
    (folder / "knn.index").touch()
    manifest = msgspec.structs.replace(made_up_manifest({}, recall=0.99), created=created)
    (folder / "manifest.json").write_bytes(encode_manifest(manifest))
    return folder


def test_of_the_versions_in_an_index_folder_the_newest_is_served(tmp_path: Path) -> None:
    version(tmp_path / "wiki" / "v10", "2026-01-01")
    newest = version(tmp_path / "wiki" / "v9", "2026-02-01")
    (tmp_path / "wiki" / "v11").mkdir()  # it was never finished
    found = Fetcher(tmp_path / "cache", Console(io.StringIO())).newest_index("OCK_INDEX", str(tmp_path / "wiki"))
    assert found == newest
    check_index("OCK_INDEX", found)


def test_an_index_that_is_not_there_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(Refusal, match=rf"^OCK_INDEX: index '{tmp_path}/wiki': no such folder"):
        Fetcher(tmp_path / "cache", Console(io.StringIO())).newest_index("OCK_INDEX", str(tmp_path / "wiki"))
