from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests import ROOT
from tests.process.container.fake_hub import FakeHub

FETCH = """
import sys
from pathlib import Path
from container.console import Console
from container.artifacts.fetch import Fetcher
from container.refusal import Refusal
try:
    print(Fetcher(Path(sys.argv[1]), Console(sys.stderr))(sys.argv[3], sys.argv[2]))
except Refusal as refusal:
    raise SystemExit(str(refusal))
"""
CHECKPOINT = {
    "config.json": b'{"model_type": "gpt_neox"}',
    "tokenizer.json": b"{}",
    "model.safetensors": b"tensors",
    "pytorch_model.bin": b"pickle",
    "README.md": b"words",
}


@pytest.fixture
def hub() -> Iterator[Callable[[dict[str, bytes]], FakeHub]]:
    opened: list[FakeHub] = []

    def open_with(files: dict[str, bytes]) -> FakeHub:
        opened.append(FakeHub(files))
        return opened[-1]

    yield open_with
    for each in opened:
        each.close()


def begin(hub: FakeHub, cache: Path, value: str, setting: str = "OCK_CHAT_MODEL") -> subprocess.Popen[str]:
    # The hub's library reads its address when it is imported, so each fetch is a process of its own.
    environ = {**os.environ, "HF_ENDPOINT": hub.url, "HF_HOME": str(cache / "home"), "PYTHONPATH": str(ROOT)}
    argv = [sys.executable, "-c", FETCH, str(cache / "artifacts"), value, setting]
    return subprocess.Popen(argv, env=environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def names(folder: str) -> set[str]:
    return {path.name for path in Path(folder.strip()).iterdir() if not path.name.startswith(".")}


def test_only_tensors_configs_and_tokenizers_are_fetched(hub, tmp_path: Path) -> None:
    server = hub(CHECKPOINT)
    out, _ = begin(server, tmp_path, "some/model@v2").communicate(timeout=60)
    assert names(out) == {"config.json", "tokenizer.json", "model.safetensors"}
    assert "pytorch_model.bin" not in server.fetched


def test_two_processes_fetch_a_model_once(hub, tmp_path: Path) -> None:
    server = hub(CHECKPOINT)
    both = [begin(server, tmp_path, "some/model") for _ in range(2)]
    folders = {each.communicate(timeout=60)[0] for each in both}
    assert len(folders) == 1
    assert set(server.fetched.values()) == {1}


@pytest.mark.parametrize(
    ("setting", "way_out"),
    [
        ("OCK_CHAT_MODEL", "convert them with `python -m deploy package --chat some/model`"),
        ("OCK_OUTPUT_MODERATION_MODEL", "convert them with `python -m deploy package --output-moderation some/model`"),
        ("OCK_ENCODER", "convert it with `python -m deploy package --encoder some/model --out FOLDER`"),
    ],
)
def test_pickles_alone_are_refused_with_the_way_out(hub, tmp_path: Path, setting: str, way_out: str) -> None:
    server = hub({name: data for name, data in CHECKPOINT.items() if name != "model.safetensors"})
    _, err = begin(server, tmp_path, "some/model", setting).communicate(timeout=60)
    assert err.endswith(f"{setting}=some/model: it has only pickled weights, which are never loaded; {way_out}\n")
    assert not server.fetched


def test_a_model_that_the_hub_does_not_have_is_named(hub, tmp_path: Path) -> None:
    process = begin(hub(CHECKPOINT), tmp_path, "some/other")
    _, err = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "OCK_CHAT_MODEL=some/other: no such folder, and it cannot be had from the hub:" in err
