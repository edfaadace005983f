"""deploy/README.md says what the code does: its commands are legal, its timeouts are the settings' own."""

from __future__ import annotations

import argparse
import importlib
import re
import shlex
from pathlib import Path

import pytest

import deploy
from deploy.__main__ import VERBS
from deploy.client.chat_client import TIMEOUT_S
from deploy.client.retry import RetryPolicy
from deploy.endpoint.plan import PROVISION_S
from deploy.local.container import PING_TIMEOUT_S, STOP_S
from deploy.specification.endpoint_file import Autoscaling, Update
from deploy.specification.timeouts import shift_s
from server.config import Settings
from tests.unit.deploy.container_double import Container, SageMakerHandler, answered, serving, streamed

README = Path(deploy.__file__).with_name("README.md").read_text()
COMMANDS = re.findall(r"^python -m deploy (.+?)(?:\s+#.*)?$", README.replace("\\\n", ""), re.MULTILINE)
ROWS = [[cell.strip() for cell in line.strip("|").split("|")] for line in README.splitlines() if line.startswith("| ")]


@pytest.mark.parametrize("command", COMMANDS)
def test_each_command_is_one_that_the_verb_takes(command):
    verb, *words = shlex.split(command)
    module = importlib.import_module(VERBS[verb][0])
    parser = argparse.ArgumentParser(exit_on_error=False)
    module.add_arguments(parser)
    parser.parse_args(words)


def test_the_python_example_runs_as_it_stands(monkeypatch, capsys):
    (block,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    container = Container()
    container.answers.extend([answered("A president."), streamed("Mary ", "Todd.")])
    with serving(SageMakerHandler, container) as url:
        monkeypatch.setenv("AWS_ENDPOINT_URL_SAGEMAKER_RUNTIME", url)
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
        exec(block.replace('"openchatkit"', '"talker"'), {})
    printed = capsys.readouterr().out
    assert printed.startswith("A president. (Source(title='Nile'")
    assert printed.endswith("Mary Todd.")
    assert container.asked[1]["parameters"] == {"session_id": "s-1"}


def test_every_verb_is_shown():
    assert {shlex.split(command)[0] for command in COMMANDS} == set(VERBS)


def test_the_table_has_the_settings_defaults():
    found = {}
    for row in ROWS:
        for name in re.findall(r"OCK_([A-Z_]+)", row[3]):
            found[name.lower()] = row[2]
    assert found.pop("start_timeout_s") == "60 less"
    defaults = Settings()
    assert {name: float(value) for name, value in found.items()} == {name: getattr(defaults, name) for name in found}
    assert len(found) == 7


def test_the_table_has_the_constants_of_deploy():
    by_words = {f"{row[0]}: {row[1]}": row[2] for row in ROWS}
    assert by_words["client: the next bytes of an answer"] == f"{TIMEOUT_S:g}"
    assert by_words["client: between attempts, at most"] == f"{RetryPolicy().longest_wait_s:g}"
    assert by_words["SageMaker: one answer of /ping, given from memory"] == f"{PING_TIMEOUT_S:g}"
    assert by_words["SageMaker: instances"] == str(PROVISION_S)
    assert by_words["SageMaker, `local`: the end of the container after SIGTERM, then SIGKILL"] == str(STOP_S)
    assert by_words["SageMaker: the old fleet after an update"] == str(Update().termination_wait_s)
    moving = "update`: besides, requests to move: `update.wait_s` a step, and the end of the old fleet"
    assert by_words[f"`{moving}"] == str(shift_s(Update()))
    scaling = Autoscaling()
    cooldowns = f"{scaling.scale_out_cooldown_s}, {scaling.scale_in_cooldown_s}"
    assert by_words["autoscaling: after adding, after taking away an instance"] == cooldowns
