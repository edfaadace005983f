"""What the bench is asked for is checked before anything is started, and it ends whatever the tokens are."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from server import wire
from server.engine.bench import __main__ as bench
from server.engine.bench.driver import Recorder
from server.engine.bench.rival_servers import RivalError, rival_server


def refused(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    monkeypatch.setattr(sys, "argv", ["bench", *arguments])
    with pytest.raises(SystemExit) as left:
        bench.main()
    assert left.value.code == 2
    return capsys.readouterr().err


def test_a_folder_without_its_tokenizer_is_a_sentence(monkeypatch, capsys, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}", "utf-8")
    said = refused(monkeypatch, capsys, "--model", str(tmp_path))
    assert f"--model {tmp_path}: tokenizer.json is missing there" in said


@pytest.mark.parametrize(
    "rival", [("ollama",), ("openai",), ("vllm", "http://x"), ("transformers", "x"), ("llama.cpp", "x")]
)
def test_an_unknown_rival_is_refused_with_the_legal_ones(monkeypatch, capsys, rival: tuple[str, ...]) -> None:
    said = refused(monkeypatch, capsys, "--random", "gpt-neox-410m", "--compare", *rival)
    assert "legal are transformers, llama.cpp, vllm where it is installed, llama.cpp FILE.gguf and openai URL" in said


def test_a_reply_without_text_has_begun_when_it_ends() -> None:
    recorder = Recorder()
    recorder.send(b"", wire.Finished("r", "length", num_prompt_tokens=3, num_new_tokens=5, num_cached_tokens=0))
    assert "r" in recorder.first_at
    assert recorder.num_finished == 1


def test_a_rival_that_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with (
        pytest.raises(RivalError, match="vllm: there is no vllm on the PATH"),
        rival_server("vllm", tmp_path, 1, 1, 64),
    ):
        pass
