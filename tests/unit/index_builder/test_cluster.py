"""`--ray` without what it needs is refused in one sentence."""

from __future__ import annotations

import importlib.util
import socket
from pathlib import Path

import pytest

from index_builder.__main__ import main
from tests.unit.index_builder.dumps import article, write_dump


def run(tmp_path: Path, address: str) -> int:
    dump = write_dump(tmp_path / "d.xml", article(1))
    return main(["--quiet", "passages", "--source", str(dump), "--work", str(tmp_path / "w"), "--ray", address])


def test_without_the_extra_the_sentence_names_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *more: None if name == "ray" else found(name, *more))
    assert run(tmp_path, "local") == 2
    (line,) = capsys.readouterr().err.strip().splitlines()[-1:]
    assert line == "index_builder passages: --ray 'local' needs the extra `ray`: install it with pip install '.[ray]'"


def test_an_address_where_nobody_listens_is_refused_at_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        address = f"127.0.0.1:{listener.getsockname()[1]}"
    assert run(tmp_path, address) == 2
    assert f"--ray '{address}': no Ray cluster answers there" in capsys.readouterr().err
