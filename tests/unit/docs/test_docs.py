"""The documents say what the code does: tables are made from it, and the blocks of code run."""

from __future__ import annotations

import argparse
import importlib
import json
import re
import shlex
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest

from container.cli import verb_parser
from deploy.__main__ import VERBS
from server.chat.prompt.choose_format import TEMPLATE
from server.chat.prompt.formats import FORMATS
from server.dtypes import DTYPES
from server.engine.bench.__main__ import read_arguments
from server.engine.weights.family import FAMILIES
from server.settings_table import document as settings_page
from server.web.app import OPERATIONS
from server.web.describe.api_page import document as api_page
from server.web.limits.page import document as limits_page
from tests import ROOT
from tests.unit.web.fakes import Fakes
from tests.unit.web.loopback import served

DOCS = ROOT / "docs"
RUN = ("clients.md", "retrieval.md")  # whose blocks ask a server


def blocks(language: str) -> list[str]:
    text = "".join((DOCS / name).read_text("utf-8") for name in RUN)
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


@pytest.fixture
def address() -> Iterator[str]:
    with served(Fakes()) as url:
        yield url


@pytest.mark.parametrize(("name", "made", "command"), [
    ("settings.md", settings_page(), "python -m server.settings_table > docs/settings.md"),
    ("limits.md", limits_page(), "python -m server.web.limits.page > docs/limits.md"),
    ("api.md", api_page(OPERATIONS), "python -m server.web.api_page > docs/api.md"),
])  # fmt: skip
def test_a_table_is_what_the_code_says(name: str, made: str, command: str) -> None:
    assert (DOCS / name).read_text("utf-8") == made, f"run {command}"


@pytest.mark.parametrize("block", blocks("python"))
def test_a_block_of_python_runs(block: str, address: str, capsys: pytest.CaptureFixture[str]) -> None:
    exec(compile(block.replace("http://localhost:8080", address), "clients.md", "exec"), {"__name__": "block"})
    assert capsys.readouterr().out.strip()


@pytest.mark.parametrize("block", blocks("bash"))
def test_a_block_of_shell_runs(block: str, address: str) -> None:
    commands = block.replace("localhost:8080", address.removeprefix("http://"))
    done = subprocess.run(["bash", "-ec", commands], capture_output=True, text=True, timeout=60, check=True)
    said = ("You said", '"delta":{"content":"You ', "Abraham Lincoln was the 16th president")
    assert any(each in done.stdout for each in said), done.stderr
    assert '"error"' not in done.stdout


def test_links_between_the_documents_lead_somewhere() -> None:
    for path in [*DOCS.glob("*.md"), ROOT / "README.md"]:
        for target in re.findall(r"\]\((?!https?://|#)([^)#]+)", path.read_text("utf-8")):
            assert (path.parent / target).exists(), f"{path.name}: {target}"


def test_every_setting_that_a_document_names_is_one() -> None:
    known = set(re.findall(r"`(OCK_\w+)`", settings_page()))
    for path in set(DOCS.glob("*.md")) - {DOCS / "settings.md"}:
        assert set(re.findall(r"OCK_[A-Z0-9_]+", path.read_text("utf-8"))) <= known, path.name


def test_the_page_of_models_names_what_there_is_and_tests_that_there_are() -> None:
    text = (DOCS / "models.md").read_text("utf-8")
    for name in (*FAMILIES, *FORMATS, TEMPLATE, *DTYPES):
        assert f"| `{name}`" in text or f", `{name}`" in text, name
    for path in [*DOCS.glob("*.md"), ROOT / "README.md"]:
        for named in re.findall(r"`(tests/[\w./-]+)`", path.read_text("utf-8")):
            assert (ROOT / named).exists(), f"{path.name}: {named}"


README = (ROOT / "README.md").read_text("utf-8")


EXAMPLES = re.search(r"^```\n(\$ curl .+?)^```", README, re.MULTILINE | re.DOTALL)


def examples() -> list[tuple[str, str]]:
    """The README's first commands, each with what it shows of the answer."""
    assert EXAMPLES is not None
    parts = re.findall(r"^\$ ((?:.*\\\n)*.*)\n((?:(?!\$ ).*\n)*)", EXAMPLES.group(1), re.MULTILINE)
    return [(command, shown) for command, shown in parts]


def asked(command: str, address: str) -> dict[str, Any]:
    command = command.replace("localhost:18080", address.removeprefix("http://"))
    done = subprocess.run(["bash", "-ec", command], capture_output=True, text=True, timeout=60, check=True)
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def test_the_readme_s_first_question_and_the_one_behind_it_are_answered_as_it_shows(address: str) -> None:
    (first, shown), (second, _) = examples()
    answer = asked(first.replace("Animal Farm", "Lincoln"), address)  # the one article that the fakes have
    named = re.findall(r'(?:^ *|[{,] ?)"(\w+)":', shown, re.MULTILINE)
    assert {"outputs", "session_id", "sources", "moderation", "usage"} <= set(named)
    for name in named:
        assert f'"{name}":' in json.dumps(answer), name
    behind = asked(second.replace("3cf8...", answer["session_id"]), address)
    assert behind["session_id"] == answer["session_id"]
    assert behind["outputs"] not in {"", answer["outputs"]}


def test_every_target_of_make_that_a_document_names_is_one() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE))
    for path in [*DOCS.glob("*.md"), ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "deploy" / "ELSEWHERE.md"]:
        named = re.findall(r"(?:^ {4}|^|`)make ([a-z-]+)", path.read_text("utf-8"), re.MULTILINE)
        assert set(named) <= targets, path.name


def test_the_readme_s_engine_bench_is_one_that_it_takes() -> None:
    [command] = re.findall(r"^ {4}python -m server\.engine\.bench ((?:.*\\\n)*.*)$", README, re.MULTILINE)
    arguments = read_arguments(shlex.split(command.replace("\\\n", "")))
    assert (arguments.random, arguments.batch, arguments.compare) == ("gpt-neox-410m", (1, 4, 16), [["transformers"]])


def test_what_the_readme_has_the_image_do_is_what_its_entry_point_takes() -> None:
    given = re.findall(r"^docker run .*openchatkit:gpu ?(.*?)(?:\s+#.*)?$", README, re.MULTILINE)
    assert len(given) == 2
    for words in given:
        verb_parser().parse_args(shlex.split(words))


def test_the_readme_s_image_is_built_as_it_says() -> None:
    [words] = re.findall(r"^(make image)\b", README, re.MULTILINE)
    said = re.findall(r"(FLAVOR=cpu BASE_IMAGE=\S+) without a GPU", README)
    done = subprocess.run(
        [*words.split(), "-n", *said[0].split()], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert "FLAVOR=cpu" in done.stdout
    assert "deploy.image.build" in done.stdout


@pytest.mark.parametrize("command", re.findall(r"^ {4}python -m deploy (.+?)(?:\s+#.*)?$", README, re.MULTILINE))
def test_a_command_of_the_readme_is_one_that_its_verb_takes(command: str) -> None:
    verb, *words = shlex.split(command)
    parser = argparse.ArgumentParser(exit_on_error=False)
    importlib.import_module(VERBS[verb][0]).add_arguments(parser)
    parser.parse_args(words)
