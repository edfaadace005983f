"""The kernels are compiled once, and a machine that cannot compile them is told so."""

from __future__ import annotations

from pathlib import Path

import pytest

from server.engine.cpu import build
from server.engine.cpu.build import BuildError, library
from server.engine.parallel.processor import Level


@pytest.mark.parametrize("level", [Level.AVX2, Level.VNNI], ids=lambda level: level.name)
def test_a_second_start_finds_the_compiled_kernels(level: Level, tmp_path: Path) -> None:
    made = library(level, tmp_path)
    written = made.stat().st_mtime_ns
    assert library(level, tmp_path) == made
    assert made.stat().st_mtime_ns == written


def test_without_a_compiler_the_error_names_what_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(BuildError, match=r"g\+\+ is not installed"):
        library(Level.AVX2, tmp_path / "cache")


def test_other_processors_are_told_what_the_kernels_are_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(build.platform, "machine", lambda: "aarch64")
    with pytest.raises(BuildError, match="this machine is aarch64"):
        library(Level.AVX2, tmp_path / "cache")
