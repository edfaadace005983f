"""local: a stand-in for docker that really runs, serves and is stopped."""

from __future__ import annotations

import itertools
import json
import os
import socket
import sys
from pathlib import Path

import pytest

from deploy.__main__ import main

# A `docker` whose containers are processes: `run` serves the published port, `stop` sends SIGTERM.
FAKE_DOCKER = f"""#!{sys.executable}
import json, os, signal, sys
from http.server import BaseHTTPRequestHandler, HTTPServer
words = sys.argv[1:]
if words[0] == "info":
    sys.exit(0)
pid_file = os.environ["FAKE_STATE"]
if words[0] == "stop":
    os.kill(int(open(pid_file).read()), signal.SIGTERM)
    sys.exit(0)
status = os.environ.get("FAKE_EXIT")
if status is not None:
    print("supervisor: not enough memory", file=sys.stderr)
    sys.exit(int(status))
class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        self.answer(b"")
    def do_POST(self):
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        record = {{"outputs": asked["inputs"].upper(), "session_id": "s", "finish_reason": "stop"}}
        self.answer(json.dumps(record).encode())
    def answer(self, body):
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *_):
        pass
def ended(*_):
    sys.exit(0)
signal.signal(signal.SIGTERM, ended)
port = int(words[words.index("--publish") + 1].split(":")[1])
server = HTTPServer(("127.0.0.1", port), Handler)
open(pid_file, "w").write(str(os.getpid()))
server.serve_forever()
"""


@pytest.fixture
def docker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tool = tmp_path / "bin" / "docker"
    tool.parent.mkdir()
    tool.write_text(FAKE_DOCKER)
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tool.parent}:{os.environ['PATH']}")
    monkeypatch.setenv("FAKE_STATE", str(tmp_path / "pid"))


@pytest.fixture
def packaged(endpoint_toml: Path) -> Path:
    """The endpoint file with a folder for each artifact."""
    text = endpoint_toml.read_text()
    for name in ("chat", "moderation", "index", "encoder"):
        text = text.replace(f"[artifacts.{name}]\n", f'[artifacts.{name}]\nfolder = "{name}"\n')
        (endpoint_toml.parent / name).mkdir()
    endpoint_toml.write_text(text)
    return endpoint_toml


def free_port() -> str:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return str(probe.getsockname()[1])


def local(endpoint_toml: Path, *more: str) -> int:
    return main(["local", "--file", str(endpoint_toml), *more])


def test_a_prompt_is_answered_and_the_container_stopped(docker, packaged, capsys):
    assert local(packaged, "--port", free_port(), "--prompt", "is anybody there?") == 0
    captured = capsys.readouterr()
    assert captured.out == "IS ANYBODY THERE?\n"
    assert "in service after" in captured.err
    assert "the container ended with status 0" in captured.err


def test_a_container_that_ends_before_it_serves_is_an_error(docker, packaged, capsys, monkeypatch):
    monkeypatch.setenv("FAKE_EXIT", "3")
    assert local(packaged, "--port", free_port()) == 1
    assert "the container ended with status 3 before it answered /ping" in capsys.readouterr().err


def test_the_command_is_the_endpoints(packaged, capsys):
    assert local(packaged, "--dry-run", "--tool", "docker") == 0
    command = json.loads(capsys.readouterr().out)["command"]
    folder = packaged.parent
    assert command[:2] == ["docker", "run"]
    assert command[-2:] == ["123456789012.dkr.ecr.eu-west-1.amazonaws.com/openchatkit-server:0.1.0", "serve"]
    pairs = {(flag, value) for flag, value in itertools.pairwise(command) if flag.startswith("--")}
    channels = "/opt/ml/additional-model-data-sources"
    assert {
        ("--publish", "127.0.0.1:8080:8080"),
        ("--memory", "192g"),
        ("--gpus", "all"),
        ("--volume", f"{folder}/chat:/opt/ml/model:ro"),
        ("--volume", f"{folder}/index:{channels}/index:ro"),
        ("--env", "OCK_CHAT_MODEL=/opt/ml/model"),
        ("--env", f"OCK_MODERATION_MODEL={channels}/moderation"),
        ("--env", "OCK_STORE=dynamodb://talker-conversations"),
    } <= pairs
    assert "--shm-size" not in command


def test_settings_given_here_take_the_place_of_the_files_and_of_artifacts(endpoint_toml, capsys):
    settings = ["chat_model=/app/demo", "moderation_model=", "index=", "encoder=", "store=memory://", "device=cpu"]
    given = [part for setting in settings for part in ("--set", setting)]
    assert local(endpoint_toml, "--dry-run", "--no-gpus", "--tool", "podman", "--shm-size", "1g", *given) == 0
    command = json.loads(capsys.readouterr().out)["command"]
    assert "OCK_STORE=memory://" in command
    assert "OCK_CHAT_MODEL=/app/demo" in command
    assert "--volume" not in command
    assert "--device" not in command
    assert command[command.index("--shm-size") + 1] == "1g"


def test_credentials_are_named_on_the_command_line_and_not_shown(packaged, capsys, monkeypatch):
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "very-secret")
    assert local(packaged, "--dry-run", "--credentials") == 0
    printed = capsys.readouterr().out
    assert '"AWS_SECRET_ACCESS_KEY"' in printed
    assert "very-secret" not in printed


def test_a_missing_folder_is_named_with_the_way_around_it(endpoint_toml, capsys):
    assert local(endpoint_toml, "--dry-run") == 1
    assert (
        "artifacts.chat.folder=None: no such folder; package it, or give --set chat_model=" in capsys.readouterr().err
    )
