"""index_builder/README.md says what the code does: its commands are legal, every verb is described."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

import index_builder
from index_builder.__main__ import parser
from index_builder.bench.__main__ import bench_parser
from index_builder.index.faiss_index import FLAT_LIMIT
from index_builder.passages.window import WindowShape

README = Path(index_builder.__file__).with_name("README.md").read_text()
COMMANDS = re.findall(r"^ *python -m (index_builder\S*) (.+?)(?:\s+#.*)?$", README.replace("\\\n", ""), re.MULTILINE)


@pytest.mark.parametrize(("module", "command"), COMMANDS)
def test_each_command_is_legal(module: str, command: str) -> None:
    legal = {"index_builder": parser, "index_builder.bench": bench_parser}[module]()
    assert legal.parse_args(shlex.split(command)).verb


def test_every_verb_is_in_the_table() -> None:
    described = set(re.findall(r"^\| `(\w+)` \|", README, re.MULTILINE))
    (verbs,) = (action.choices for action in parser()._actions if isinstance(action.choices, dict))
    assert described == set(verbs)


def test_the_defaults_are_those_of_the_code() -> None:
    assert f"`--window-sentences` ({WindowShape().sentences})" in README
    assert f"(Flat) under {FLAT_LIMIT:,} vectors" in README
