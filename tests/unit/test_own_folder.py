"""Folders under /tmp are taken only if nobody else decides what lies there."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from container.machine.preflight import check_artifact_dir, hold_run_dir
from container.refusal import Refusal
from server.engine.cpu.build import BuildError, library
from server.engine.parallel.processor import Level
from server.own_folder import check_own_place, make_own_folder

STRANGER = 4711
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder to another user")


@pytest.fixture
def shared(tmp_path: Path) -> Path:
    """A folder open to all, as /tmp is."""
    folder = tmp_path / "tmp"
    folder.mkdir()
    folder.chmod(0o1777)
    return folder


def strangers(path: Path) -> Path:
    path.mkdir(parents=True, exist_ok=True)
    os.chown(path, STRANGER, STRANGER, follow_symlinks=False)
    return path


def test_a_folder_of_this_user_is_taken_and_one_that_others_may_write_to_is_not(tmp_path: Path) -> None:
    make_own_folder(tmp_path / "new" / "run", "OCK_RUN_DIR")
    assert (tmp_path / "new" / "run").stat().st_mode & 0o777 == 0o700
    (tmp_path / "open").mkdir()
    (tmp_path / "open").chmod(0o777)
    with pytest.raises(ValueError, match=r"OCK_RUN_DIR=.*others may write to it \(mode 777\)"):
        make_own_folder(tmp_path / "open", "OCK_RUN_DIR")


def test_what_is_not_there_yet_is_ours_to_make(shared: Path) -> None:
    make_own_folder(shared / "openchatkit" / "run", "OCK_RUN_DIR")
    make_own_folder(shared / "openchatkit" / "run", "OCK_RUN_DIR")
    check_own_place(shared / "openchatkit" / "artifacts" / "model", "OCK_ARTIFACT_DIR")


@as_root
@pytest.mark.parametrize("inside", ["", "run", "run/deeper"])
def test_a_folder_that_a_stranger_made_first_is_refused_with_all_that_is_in_it(shared: Path, inside: str) -> None:
    strangers(shared / "openchatkit")
    folder = shared / "openchatkit" / inside
    folder.mkdir(parents=True, exist_ok=True)
    with pytest.raises(ValueError, match=f"belongs to user {STRANGER}"):
        make_own_folder(folder, "OCK_RUN_DIR")


@as_root
def test_a_link_that_a_stranger_made_is_refused_whatever_it_leads_to(shared: Path, tmp_path: Path) -> None:
    (tmp_path / "ours").mkdir()
    link = shared / "openchatkit"
    link.symlink_to(tmp_path / "ours")
    os.chown(link, STRANGER, STRANGER, follow_symlinks=False)
    with pytest.raises(ValueError, match=f"belongs to user {STRANGER}"):
        make_own_folder(link / "run", "OCK_RUN_DIR")


@as_root
def test_our_link_into_a_strangers_folder_is_refused(shared: Path, tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(strangers(shared / "theirs"))
    with pytest.raises(ValueError, match=f"belongs to user {STRANGER}"):
        check_own_place(link / "run", "OCK_RUN_DIR")


def test_our_folder_that_is_open_to_others_is_refused(shared: Path) -> None:
    (shared / "openchatkit").mkdir()
    (shared / "openchatkit").chmod(0o777)
    with pytest.raises(ValueError, match=r"others may write to .*openchatkit \(mode 777\)"):
        check_own_place(shared / "openchatkit" / "run", "OCK_RUN_DIR")


def test_a_volume_that_is_open_to_its_container_is_no_shared_folder(tmp_path: Path) -> None:
    volume = tmp_path / "volume"  # as Kubernetes makes them
    volume.mkdir()
    volume.chmod(0o777)
    check_own_place(volume / "artifacts", "OCK_ARTIFACT_DIR")


def test_a_volume_that_is_mounted_in_a_shared_folder_is_its_operators(
    shared: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    volume = shared / "openchatkit"
    volume.mkdir()
    volume.chmod(0o777)
    monkeypatch.setattr(Path, "is_mount", lambda path: path == volume)
    check_own_place(volume / "artifacts", "OCK_ARTIFACT_DIR")


@as_root
def test_the_container_and_the_kernels_refuse_in_a_sentence(shared: Path) -> None:
    theirs = strangers(shared / "openchatkit")
    with pytest.raises(Refusal, match=f"OCK_ARTIFACT_DIR=.* belongs to user {STRANGER}"):
        check_artifact_dir(theirs / "artifacts")
    with pytest.raises(Refusal, match=f"OCK_RUN_DIR=.* belongs to user {STRANGER}"):
        hold_run_dir(theirs / "run")
    with pytest.raises(BuildError, match=f"the kernels=.* belongs to user {STRANGER}"):
        library(Level.AVX2, theirs / "cache")
