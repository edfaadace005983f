"""The wheel, installed without extras into an environment of its own: the operator's computer."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import venv
from pathlib import Path

import pytest

from tests import ROOT

IMPORT_LIMIT_S = 0.3
LEAST_TRIES = 3  # a busy machine is late now and then


def run(*command: str | Path, cwd: Path, environ: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    kept = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "VIRTUAL_ENV")}
    return subprocess.run(
        [str(part) for part in command], cwd=cwd, env={**kept, **(environ or {})}, capture_output=True, text=True
    )


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bin folder of an environment with the wheel and what it needs, and nothing else."""
    folder = tmp_path_factory.mktemp("wheel")
    pip = (sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check")
    elsewhere = folder / "setup.cfg"  # setuptools builds in the source folder otherwise
    elsewhere.write_text(f"[build]\nbuild_base = {folder / 'build'}\n[egg_info]\negg_base = {folder}\n")
    wheel = (*pip, "wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", folder, ROOT)
    built = run(*wheel, cwd=folder, environ={"DIST_EXTRA_CONFIG": str(elsewhere)})
    assert built.returncode == 0, built.stderr
    (file,) = folder.glob("*.whl")
    venv.create(folder / "env", symlinks=True)
    python = folder / "env" / "bin" / "python"
    done = run(*pip, "--python", python, "install", file, cwd=folder)
    assert done.returncode == 0, done.stderr
    return python.parent


def test_without_extras_it_is_small_and_brings_no_torch(installed: Path, tmp_path: Path) -> None:
    names = run(
        installed / "python",
        "-c",
        "import importlib.metadata as m; print(*(d.name for d in m.distributions()))",
        cwd=tmp_path,
    )
    found = set(names.stdout.lower().split())
    assert {"openchatkit-server", "boto3", "pydantic"} <= found
    assert len(found) < 20, found
    assert not found & {"torch", "transformers", "flask", "deepspeed", "numpy"}


def test_deploy_lists_its_verbs_in_less_than_a_third_of_a_second(installed: Path, tmp_path: Path) -> None:
    tries = []
    for _ in range(LEAST_TRIES):
        done = run(installed / "python", "-X", "importtime", "-m", "deploy", "--help", cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        assert "package" in done.stdout
        tries.append(sum(int(us) for us in re.findall(r"import time:\s+(\d+) \|", done.stderr)) / 1e6)
    assert min(tries) < IMPORT_LIMIT_S, tries


def test_every_verb_of_an_operator_is_there_without_the_server(installed: Path, tmp_path: Path) -> None:
    verbs = "create prepare image upload status delete invoke chat update rollback local logs autoscale token bench"
    code = "from importlib import import_module; from deploy.__main__ import VERBS"
    code += f"; [import_module(VERBS[verb][0]) for verb in {verbs.split()}]"
    done = run(installed / "python", "-c", code, cwd=tmp_path)
    assert done.returncode == 0, done.stderr


def test_what_needs_more_says_what_to_install(installed: Path, tmp_path: Path) -> None:
    for arguments, extra in ((("serve",), "server,cpu"), (("index", "build"), "index,cpu")):
        done = run(installed / "openchatkit", *arguments, cwd=tmp_path)
        assert done.returncode == 2
        assert f"pip install 'openchatkit-server[{extra}]'" in done.stderr


def test_a_verb_that_needs_the_server_says_so_in_one_sentence(installed: Path, tmp_path: Path) -> None:
    done = run(installed / "python", "-m", "deploy", "package", "--help", cwd=tmp_path)
    assert done.returncode == 1
    assert done.stderr == "error: package needs httpx2: pip install 'openchatkit-server[server,cpu]'\n"


def test_the_client_asks_a_server_by_its_address_alone(installed: Path, tmp_path: Path) -> None:
    code = "from deploy.client import ChatClient, ChatError; ChatClient('http://127.0.0.1:9').chat('Hello')"
    done = run(installed / "python", "-c", code, cwd=tmp_path)
    assert "ChatError: unreachable" in done.stderr
