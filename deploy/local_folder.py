"""A packaged folder on this machine: its files, their checksums, and the manifest that goes last."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deploy.artifact_sizes import MANIFEST
from deploy.errors import DeployError


@dataclass(frozen=True)
class LocalFile:
    """One file; `name` is its path in the folder, with forward slashes."""

    path: Path
    name: str
    num_bytes: int


def files_of(folder: Path) -> list[LocalFile]:
    """Every file under `folder` but hidden ones, the manifest last.

    Raises:
        DeployError: no such folder, or nothing in it.
    """
    if not folder.is_dir():
        raise DeployError(f"{folder}: no such folder; make it with: python -m deploy package")
    found = []
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.is_file() and not any(part.startswith(".") for part in name.split("/")):
            found.append(LocalFile(path, name, path.stat().st_size))
    if not found:
        raise DeployError(f"{folder}: there is nothing in it")
    return sorted(found, key=lambda file: (file.name == MANIFEST, file.name))


def manifest_checksums(folder: Path) -> dict[str, str]:
    """sha256 by file name, as the folder's manifest has it; empty where there is no manifest or none in it."""
    path = folder / MANIFEST
    if not path.is_file():
        return {}
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise DeployError(f"{path}: not JSON: {error}") from error
    files = manifest.get("files", {}) if isinstance(manifest, dict) else {}
    return {name: _sha256_in(facts) for name, facts in files.items() if _sha256_in(facts)}


def _sha256_in(facts: Any) -> str:
    return str(facts.get("sha256", "")) if isinstance(facts, dict) else str(facts)


def sha256(path: Path) -> str:
    """The checksum of what the file holds now."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
