"""Where a checkpoint to package is: a folder on this machine, or a hub id that is downloaded at a pinned revision."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import httpx2
from huggingface_hub import snapshot_download

from deploy.errors import DeployError
from server.artifacts.hub_id import read_hub_id

_DESCRIPTIONS = ["*.json", "*.jinja", "tokenizer*", "merges.txt"]
_TENSORS = ["*.safetensors"]
_PICKLES = ["pytorch_model*.bin"]  # only where there are no tensors
_MODULES = ["*/*.json", "*/*.safetensors", "*/pytorch_model.bin", "*.txt", "*.model"]  # of an encoder, besides


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint on this machine: a folder, or a GGUF file.

    `name` and `revision` say where it came from, the revision is a commit or empty.
    """

    folder: Path
    name: str
    revision: str = ""


class CheckpointFinder:
    """Finds or downloads checkpoints; `download` is huggingface_hub's snapshot_download."""

    def __init__(self, download: Callable[..., str] = snapshot_download) -> None:
        self._download = download

    def find(self, flag: str, value: str, is_encoder: bool = False) -> Checkpoint:
        """The checkpoint that `flag`=`value` names; an encoder's files lie in folders, one a module.

        Raises:
            DeployError: no such folder, not a hub id, or the download failed.
        """
        folder = Path(value).expanduser()
        if folder.is_dir() or (folder.is_file() and folder.suffix == ".gguf"):
            return Checkpoint(folder.resolve(), folder.resolve().name)
        hub_id = read_hub_id(value)
        if hub_id is None:
            raise DeployError(
                f"{flag} {value}: neither a folder, a .gguf file nor a hub id (owner/name or owner/name@revision)"
            )
        more = _MODULES if is_encoder else []
        return self._fetch(flag, hub_id.name, hub_id.revision, described=[*_DESCRIPTIONS, *more])

    def _fetch(self, flag: str, hub_id: str, revision: str | None, described: list[str]) -> Checkpoint:
        try:
            folder = Path(self._download(hub_id, revision=revision, allow_patterns=[*described, *_TENSORS]))
            commit = folder.name  # the hub's cache names a snapshot by its commit
            if not any(folder.glob("*.safetensors")):
                self._download(hub_id, revision=commit, allow_patterns=[*described, *_PICKLES])
        except (OSError, ValueError, httpx2.HTTPError) as error:
            raise DeployError(f"{flag} {hub_id}: the download failed; run the same again to go on: {error}") from error
        return Checkpoint(folder, hub_id, commit)
