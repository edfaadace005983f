"""The documents say what the code does: tables are made from it, and the blocks of code run."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator

import pytest

from server.settings_table import document as settings_page
from server.web.app import OPERATIONS
from server.web.describe.api_page import document as api_page
from tests import ROOT
from tests.unit.web.fakes import Fakes
from tests.unit.web.loopback import served

DOCS = ROOT / "docs"
CLIENTS = (DOCS / "clients.md").read_text("utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", CLIENTS, re.MULTILINE | re.DOTALL)


@pytest.fixture
def address() -> Iterator[str]:
    with served(Fakes()) as url:
        yield url


@pytest.mark.parametrize(("name", "made", "command"), [
    ("settings.md", settings_page(), "python -m server.settings_table > docs/settings.md"),
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
    assert "You said" in done.stdout or '"delta":{"content":"You ' in done.stdout, done.stderr


def test_links_between_the_documents_lead_somewhere() -> None:
    for path in [*DOCS.glob("*.md"), ROOT / "README.md"]:
        for target in re.findall(r"\]\((?!https?://|#)([^)#]+)", path.read_text("utf-8")):
            assert (path.parent / target).exists(), f"{path.name}: {target}"


def test_every_setting_that_a_document_names_is_one() -> None:
    known = set(re.findall(r"`(OCK_\w+)`", settings_page()))
    for path in [DOCS / "operations.md", DOCS / "security.md", DOCS / "clients.md"]:
        assert set(re.findall(r"OCK_[A-Z0-9_]+", path.read_text("utf-8"))) <= known, path.name
