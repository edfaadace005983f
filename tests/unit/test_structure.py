"""The tree can be seen at a glance, and docs/structure.md tells the truth about it."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import pytest

from tests import ROOT

PACKAGES = ("server", "container", "index_builder", "deploy")
MOST_FILES = 20
STRUCTURE = (ROOT / "docs" / "structure.md").read_text(encoding="utf-8")


def source_files() -> list[Path]:
    return [path.relative_to(ROOT) for package in PACKAGES for path in sorted((ROOT / package).rglob("*.py"))]


def rooms() -> list[str]:
    return sorted({str(path.parent) for path in source_files()})


def test_no_folder_holds_more_source_files_than_one_can_see() -> None:
    held = Counter(path.parent for path in source_files())
    assert {str(room): number for room, number in held.items() if number > MOST_FILES} == {}


@pytest.mark.parametrize("room", rooms())
def test_every_room_has_its_sentence(room: str) -> None:
    assert f"`{room}/`" in STRUCTURE


def test_every_path_that_the_structure_names_is_there() -> None:
    named = re.findall(r"`((?:server|container|index_builder|deploy|tests|docs)/[\w./-]*)`", STRUCTURE)
    assert len(named) > len(PACKAGES)
    assert [path for path in named if not (ROOT / path).exists()] == []


def test_every_path_that_contributing_names_is_there() -> None:
    contributing = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    named = re.findall(r"`((?:server|container|index_builder|deploy|tests|docs)/[\w./-]*)`", contributing)
    assert len(named) > len(PACKAGES)
    assert [path for path in named if not (ROOT / path).exists()] == []
