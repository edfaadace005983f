"""AWS's own Python SDK, in an environment of its own, finds an endpoint that deploy made, and asks it."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tomllib
import venv
from pathlib import Path

import pytest

from deploy.__main__ import main
from tests import ROOT
from tests.aws.deploy.aws_account import AwsServer
from tests.aws.deploy.test_notebook import RECORD, cells, will_answer

PINS = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["optional-dependencies"]["sagemaker"]


@pytest.fixture(scope="module")
def sdk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Python with the SDK: what it needs does not go together with what the other tests need."""
    folder = tmp_path_factory.mktemp("sdk")
    venv.create(folder, symlinks=True)
    python = folder / "bin" / "python"
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check", "--python", str(python), "install"]
    done = subprocess.run([*pip, *PINS], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return python


def test_the_notebook_s_lines_fetch_and_invoke_an_endpoint_that_deploy_made(
    ready_account: AwsServer, endpoint_toml: Path, sdk: Path
) -> None:
    will_answer(ready_account, [RECORD])
    assert main(["create", "--file", str(endpoint_toml), "--poll-s", "0.01"]) == 0
    [block] = [block for cell in cells("markdown") for block in re.findall(r"```python\n(.*?)```", cell, re.DOTALL)]
    name = str(tomllib.loads(endpoint_toml.read_text("utf-8"))["name"])
    lines = (
        f"body = {json.dumps({'inputs': 'Who was Abraham Lincoln?'})!r}",
        block.replace('"openchatkit"', repr(name)),
        "print(answer.body.read().decode())",
    )
    done = subprocess.run([sdk, "-c", "\n".join(lines)], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert "InService" in done.stdout
    assert json.loads(done.stdout.splitlines()[-1])["outputs"] == RECORD["outputs"]
