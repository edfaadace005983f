"""Publishes a version beside the earlier ones; a version that exists is never written over."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol

from index_builder.manifest import file_facts
from index_builder.progress import Progress
from index_builder.publish.targets import LocalTarget, PublishError, S3Target
from server.artifacts.folder import MANIFEST
from server.retrieval.index.manifest import FileFacts, Manifest, read_manifest


class Target(Protocol):
    """Where one version goes."""

    address: str

    def manifest(self) -> bytes | None:
        """The manifest that is there already."""
        ...

    def has(self, name: str, facts: FileFacts) -> bool:
        """Whether this very file is there already."""
        ...

    def put(self, path: Path, name: str, facts: FileFacts, progress: Any) -> None:
        """Store a file, whole or not at all."""
        ...


def publish(folder: Path, root: str, recall_floor: float, progress: Progress, version: str | None = None) -> str:
    """Copy the index in `folder` to `root`/version, and return that address; at once when it is there already.

    Raises:
        PublishError: not evaluated, below the floor, damaged, another index has that version, or S3 refuses it.
    """
    manifest = read_manifest(folder)
    refuse_poor(manifest, recall_floor)
    _refuse_damaged(folder, manifest, progress)
    target = _target(root, version or manifest.version)
    mine = (folder / MANIFEST).read_bytes()
    if (theirs := target.manifest()) is not None:
        if theirs != mine:
            raise PublishError(f"{target.address} holds another index already; name another --version")
        return target.address
    _put_missing(target, folder, manifest, progress=progress)
    target.put(folder / MANIFEST, MANIFEST, file_facts(folder / MANIFEST), lambda _: None)
    return target.address


def refuse_unwritable(uri: str) -> None:
    """Write and delete a small object under an s3:// prefix, so that no build of hours ends in a refusal.

    Raises:
        PublishError: it cannot be written.
    """
    S3Target(uri.rstrip("/")).probe()


def refuse_poor(manifest: Manifest, recall_floor: float) -> None:
    """Refuse an index that was not evaluated, or finds too little of what exact search finds.

    Raises:
        PublishError: its recall@10 is unknown, or below the floor.
    """
    if "recall@10" not in manifest.index.recall:
        raise PublishError(f"index {manifest.label} was not evaluated; run `python -m index_builder evaluate` first")
    for depth in ("recall@10", "recall@64"):
        recall = manifest.index.recall.get(depth, 1.0)
        if recall < recall_floor:
            raise PublishError(
                f"index {manifest.label} has a {depth} of {recall}; at least {recall_floor} is legal (--recall-floor)"
            )


def _refuse_damaged(folder: Path, manifest: Manifest, progress: Progress) -> None:
    total = sum(facts.num_bytes for facts in manifest.files.values())
    with progress.stage("verify", total, "B") as bar:
        for name, facts in manifest.files.items():
            if not (folder / name).is_file() or file_facts(folder / name, bar.update) != facts:
                raise PublishError(f"{folder / name} is not what the manifest describes; build the index again")


def _put_missing(target: Target, folder: Path, manifest: Manifest, progress: Progress) -> None:
    missing = {name: facts for name, facts in manifest.files.items() if not target.has(name, facts)}
    with progress.stage("publish", sum(facts.num_bytes for facts in missing.values()), "B") as bar:
        for name, facts in missing.items():
            target.put(folder / name, name, facts, bar.update)


def _target(root: str, version: str) -> Target:
    if root.startswith("s3://"):
        return S3Target(f"{root.rstrip('/')}/{version}")
    return LocalTarget(Path(root).expanduser() / version)
