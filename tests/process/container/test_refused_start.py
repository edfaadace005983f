from __future__ import annotations

import fcntl
import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from server.ports import free_loopback_port
from tests import ROOT

SERVE = ROOT / "container" / "serve"


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    """A folder that looks like a checkpoint of six heads; nothing here loads it."""
    folder = tmp_path / "chat"
    folder.mkdir()
    (folder / "config.json").write_text(
        json.dumps({"model_type": "gpt_neox", "hidden_size": 96, "num_attention_heads": 6})
    )
    (folder / "tokenizer.json").write_text(
        json.dumps({"model": {"type": "WordLevel", "vocab": {"a": 0}, "unk_token": "a"}})
    )
    (folder / "model.safetensors").write_bytes(b"")
    return folder


@pytest.fixture
def taken_port() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def start(tmp_path: Path, **settings: object) -> subprocess.CompletedProcess[str]:
    defaults = {
        "OCK_RUN_DIR": tmp_path / "run",
        "OCK_HOST": "127.0.0.1",
        "OCK_PORT": free_loopback_port(),
        "OCK_STORE": "memory://",
    }
    environ = {name: value for name, value in os.environ.items() if not name.startswith("OCK_")}
    environ.update({name: str(value) for name, value in {**defaults, **settings}.items()})
    return subprocess.run([sys.executable, SERVE], env=environ, capture_output=True, text=True, timeout=60)


def assert_refused(result: subprocess.CompletedProcess[str], sentence: str) -> None:
    """Status 2, exactly one line on stderr, and no child was started."""
    assert result.returncode == 2, result
    assert result.stderr == f"openchatkit: {sentence}\n"
    assert "engine.start" not in result.stdout


def test_a_taken_port_is_named(tmp_path: Path, taken_port: int) -> None:
    sentence = f"OCK_HOST=127.0.0.1, OCK_PORT={taken_port}: cannot listen there (Address already in use)"
    assert_refused(start(tmp_path, OCK_PORT=taken_port), sentence)


def test_a_model_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    result = start(tmp_path, OCK_CHAT_MODEL=tmp_path / "nowhere")
    assert_refused(result, f"OCK_CHAT_MODEL={tmp_path}/nowhere: no such folder")


def test_a_missing_file_of_the_moderation_model_is_named(tmp_path: Path, checkpoint: Path) -> None:
    other = tmp_path / "moderation"
    other.mkdir()
    result = start(tmp_path, OCK_CHAT_MODEL=checkpoint, OCK_MODERATION_MODEL=other)
    assert_refused(result, f"OCK_MODERATION_MODEL={other}: config.json is missing")


def test_pickled_weights_are_refused_with_the_way_out(tmp_path: Path, checkpoint: Path) -> None:
    (checkpoint / "model.safetensors").rename(checkpoint / "pytorch_model.bin")
    result = start(tmp_path, OCK_CHAT_MODEL=checkpoint)
    assert_refused(
        result,
        f"OCK_CHAT_MODEL={checkpoint}: only pickled weights (.bin) are there, which are never loaded;"
        " convert them with `python -m deploy package`",
    )


def test_more_ranks_than_heads_are_named(tmp_path: Path, checkpoint: Path) -> None:
    result = start(tmp_path, OCK_CHAT_MODEL=checkpoint, OCK_TENSOR_PARALLEL_DEGREE=8)
    assert_refused(
        result,
        f"OCK_TENSOR_PARALLEL_DEGREE=8, OCK_CHAT_MODEL={checkpoint}: its 6 attention heads do not reach for 8 ranks",
    )


def test_an_index_without_a_manifest_is_named(tmp_path: Path, checkpoint: Path) -> None:
    index = tmp_path / "index"
    index.mkdir()
    result = start(tmp_path, OCK_CHAT_MODEL=checkpoint, OCK_INDEX=index)
    sentence = f"OCK_INDEX: index folder {index} has no manifest.json, nor has a folder in it: no complete index"
    assert_refused(result, sentence)


def test_an_encoder_that_is_not_there_is_named(tmp_path: Path, checkpoint: Path) -> None:
    result = start(tmp_path, OCK_CHAT_MODEL=checkpoint, OCK_ENCODER=tmp_path / "encoder")
    assert_refused(result, f"OCK_ENCODER={tmp_path}/encoder: no such folder")


def test_an_encoder_of_pickles_is_refused_with_the_way_out(tmp_path: Path, checkpoint: Path) -> None:
    encoder = tmp_path / "encoder"
    encoder.mkdir()
    (encoder / "config.json").write_text("{}")
    (encoder / "pytorch_model.bin").touch()
    result = start(tmp_path, OCK_CHAT_MODEL=checkpoint, OCK_ENCODER=encoder)
    assert_refused(
        result,
        f"OCK_ENCODER={encoder}: no .safetensors file beside config.json; convert it with"
        f" `python -m deploy package --encoder {encoder} --out FOLDER`",
    )


def test_a_store_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch()
    result = start(tmp_path, OCK_STORE=f"sqlite:///{file}/turns.sqlite")
    assert_refused(result, f"OCK_STORE=sqlite:///{file}/turns.sqlite: {file} cannot be made (File exists)")


def test_more_gpus_than_there_are_is_refused(tmp_path: Path) -> None:
    result = start(tmp_path, OCK_DEVICE="cuda", OCK_TENSOR_PARALLEL_DEGREE=64)
    assert result.returncode == 2
    assert result.stderr.startswith("openchatkit: OCK_TENSOR_PARALLEL_DEGREE=64: nvidia-smi shows")


def test_an_unknown_setting_is_refused_with_the_nearest_name(tmp_path: Path) -> None:
    result = start(tmp_path, OCK_CHATMODEL="x")
    assert result.returncode == 2
    assert result.stderr.startswith("openchatkit: OCK_CHATMODEL is not a setting; did you mean OCK_CHAT_MODEL?")


def test_a_second_server_in_the_same_run_folder_is_refused(tmp_path: Path) -> None:
    run_dir = tmp_path / "run"
    run_dir.mkdir()
    with (run_dir / "supervisor.lock").open("w") as lock:
        lock.write("4711\n")
        lock.flush()
        fcntl.flock(lock, fcntl.LOCK_EX)
        result = start(tmp_path)
    assert_refused(result, f"OCK_RUN_DIR={run_dir}: in use by process 4711; give this server a folder of its own")


def test_a_package_for_another_degree_is_refused(tmp_path: Path, checkpoint: Path) -> None:
    (checkpoint / "manifest.json").write_text('{"tensor_parallel_degree": 2}')
    result = start(tmp_path, OCK_CHAT_MODEL=checkpoint, OCK_TENSOR_PARALLEL_DEGREE=3)
    assert_refused(result, f"OCK_CHAT_MODEL={checkpoint}: packaged for degree 2, OCK_TENSOR_PARALLEL_DEGREE=3")
