from __future__ import annotations

import importlib.metadata
import re

import pytest

from container.version import version_lines
from tests import ROOT

LOCKS = ROOT / "container" / "requirements"


def install(monkeypatch: pytest.MonkeyPatch, *locks: str) -> None:
    """Let exactly the packages of these lock files be installed."""
    text = "\n".join((LOCKS / name).read_text() for name in locks)
    locked = dict(re.findall(r"^([a-z0-9][a-z0-9.-]*)==([^ ;\\\n]+)", text, re.MULTILINE))

    def version(name: str) -> str:
        if name not in locked:
            raise importlib.metadata.PackageNotFoundError(name)
        return locked[name]

    monkeypatch.setattr(importlib.metadata, "version", version)


@pytest.mark.parametrize(
    ("faiss", "locks"),
    [
        ("faiss-cpu", ("gpu.lock", "deepspeed.lock")),
        ("faiss-cpu", ("cpu.lock", "deepspeed.lock", "torch-cpu.txt")),
    ],
)
def test_each_flavour_lists_every_part_with_its_faiss(
    monkeypatch: pytest.MonkeyPatch, faiss: str, locks: tuple[str, ...]
) -> None:
    install(monkeypatch, *locks)
    versions = dict(line.split(" ", 1) for line in version_lines())
    assert faiss in versions
    assert "missing" not in versions.values()


def test_an_installation_without_faiss_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch, "deepspeed.lock")
    assert "faiss missing" in version_lines()
