"""A stored turn says which weights answered, also where the folder's name stays the same."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from server.chat.records.model_version import model_version
from server.config import ConfigError
from server.engine.weights.manifest import Adapter, Manifest, encode_manifest


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "config.json").write_text('{"hidden_size": 8}')
    (folder / "model-1.safetensors").write_bytes(os.urandom(200_000))
    (folder / "model-2.safetensors").write_bytes(os.urandom(1000))
    return folder


def manifest(**fields: object) -> bytes:
    made = {
        "source": "togethercomputer/GPT-NeoXT-Chat-Base-20B",
        "revision": "v0.16",
        "source_sha256": "0a1b2c3d4e5f60718293" * 3,
        "adapters": (),
        "dtype": "float16",
        "tensor_parallel_degree": 4,
        "files": {},
    }
    return encode_manifest(Manifest(**(made | fields)))  # type: ignore[arg-type]


def test_a_plain_folder_is_its_name_and_a_digest_that_stays_the_same(folder: Path) -> None:
    name, digest = model_version(folder).split()
    assert (name, len(digest)) == ("model", 12)
    os.utime(folder / "config.json", (1, 1))
    (folder / "README.md").write_text("notes")
    assert model_version(folder) == f"{name} {digest}"


@pytest.mark.parametrize(
    "change",
    [
        lambda folder: (folder / "config.json").write_text('{"hidden_size": 16}'),
        lambda folder: (folder / "model-2.safetensors").write_bytes(bytes(1001)),
        lambda folder: (folder / "model-2.safetensors").rename(folder / "model-3.safetensors"),
        lambda folder: (folder / "model-2.safetensors").unlink(),
        lambda folder: (folder / "model-1.safetensors").write_bytes(os.urandom(200_000)),
    ],
)
def test_other_weights_in_the_same_place_have_another_version(folder: Path, change: object) -> None:
    before = model_version(folder)
    change(folder)  # type: ignore[operator]
    assert model_version(folder) != before


def test_a_packaged_folder_is_its_source_revision_and_digest(folder: Path) -> None:
    (folder / "manifest.json").write_bytes(manifest())
    assert model_version(folder) == "togethercomputer/GPT-NeoXT-Chat-Base-20B@v0.16 0a1b2c3d4e5f"
    (folder / "manifest.json").write_bytes(manifest(revision="", adapters=(Adapter("mine", "f" * 64),)))
    assert model_version(folder) == "togethercomputer/GPT-NeoXT-Chat-Base-20B 0a1b2c3d4e5f + mine ffffffffffff"


@pytest.mark.parametrize("found", [b"not json", json.dumps({"encoder": "x"}).encode()])
def test_the_manifest_of_something_else_is_not_the_model_s(folder: Path, found: bytes) -> None:
    before = model_version(folder)
    (folder / "manifest.json").write_bytes(found)
    assert model_version(folder) == before


def test_a_folder_without_a_config_stops_the_start_with_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"OCK_CHAT_MODEL: .* cannot be read"):
        model_version(tmp_path)
