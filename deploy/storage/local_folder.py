"""A packaged folder on this machine: its files, their checksums, and the manifest that goes last."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deploy.errors import DeployError
from server.artifacts.folder import MANIFEST

_PER_RANK = "rank-*.safetensors"


@dataclass(frozen=True)
class LocalFile:
    """One file; `name` is its path in the folder, with forward slashes."""

    path: Path
    name: str
    num_bytes: int


def files_of(folder: Path) -> list[LocalFile]:
    """What the folder's manifest names, and the manifest last; of a plain checkpoint every file but hidden ones.

    What else lies in a packaged folder, an earlier packaging for more ranks say, does not belong to it.

    Raises:
        DeployError: no such folder, nothing in it, a packaging that did not finish, or a file that is missing.
    """
    if not folder.is_dir():
        raise DeployError(f"{folder}: no such folder; make it with: python -m deploy package")
    named = _named_by_manifest(folder)
    if named is None:
        _check_not_half_packaged(folder)
        names = _visible_files(folder)
    else:
        names = [*sorted(named), MANIFEST]
    missing = [name for name in names if not (folder / name).is_file()]
    if missing:
        raise DeployError(f"{folder}: {missing[0]} is in {MANIFEST} but not there; package it again")
    if not names:
        raise DeployError(f"{folder}: there is nothing in it")
    found = [LocalFile(folder / name, name, (folder / name).stat().st_size) for name in names]
    return sorted(found, key=lambda file: (file.name == MANIFEST, file.name))


def manifest_checksums(folder: Path) -> dict[str, str]:
    """sha256 by file name, as the folder's manifest has it; empty where there is no manifest or none in it."""
    named = _named_by_manifest(folder) or {}
    return {name: _sha256_in(facts) for name, facts in named.items() if _sha256_in(facts)}


def _named_by_manifest(folder: Path) -> dict[str, Any] | None:
    """Facts by file name; None without a manifest, and where a file of that name is somebody else's."""
    path = folder / MANIFEST
    if not path.is_file():
        return None
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise DeployError(f"{path}: not JSON: {error}") from error
    files = manifest.get("files") if isinstance(manifest, dict) else None
    return files if isinstance(files, dict) else None


def _visible_files(folder: Path) -> list[str]:
    names = [path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()]
    return sorted(name for name in names if not any(part.startswith(".") for part in name.split("/")))


def _check_not_half_packaged(folder: Path) -> None:
    if not (folder / MANIFEST).is_file() and any(folder.glob(_PER_RANK)):
        raise DeployError(
            f"{folder}: it holds {_PER_RANK} and no {MANIFEST}, its packaging did not finish; "
            "run the same python -m deploy package again to go on"
        )


def _sha256_in(facts: Any) -> str:
    return str(facts.get("sha256", "")) if isinstance(facts, dict) else str(facts)
