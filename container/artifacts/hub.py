"""Checkpoints from the model hub: only what is read, at the revision that is named, never a pickle."""

from __future__ import annotations

import shutil
from pathlib import Path

import httpx2
from huggingface_hub import DryRunFileInfo, snapshot_download
from huggingface_hub.errors import HFValidationError

from container.artifacts.folders import encoder_way_out
from container.console import Console
from container.refusal import Refusal
from server.artifacts.error import ArtifactError
from server.artifacts.folder_lock import FolderLock
from server.artifacts.hub_id import HubId

# Tensors, configs and tokenizers; vocab.txt and merges.txt are tokenizers of encoders.
PATTERNS = ["*.safetensors", "*.json", "*.jinja", "vocab.txt", "merges.txt", "tokenizer.model", "1_Pooling/*"]
_PICKLES = ["*.bin", "*.pt", "*.pth", "*.ckpt"]
_SPARE_BYTES = 256 << 20


def fetch_hub(setting: str, model: HubId, cache: Path, console: Console, deadline_s: float) -> Path:
    """The local folder of `model`. One process downloads, others wait; a stopped download is gone on with.

    Raises:
        Refusal: no such model or revision, no access, only pickled weights, no room, or no network.
    """
    folder = cache / model.folder_name
    try:
        with FolderLock(
            folder, deadline_s, lambda holder: console.event("artifact.wait", of=model.name, holder=holder)
        ):
            return _download(setting, model, folder, console=console)
    except ArtifactError as error:
        raise Refusal(f"{setting}: {error}") from error
    except (OSError, httpx2.HTTPError, HFValidationError) as error:
        reason = str(error).strip().partition("\n")[0]
        raise Refusal(f"{setting}={model.name}: no such folder, and it cannot be had from the hub: {reason}") from error


def _download(setting: str, model: HubId, folder: Path, console: Console) -> Path:
    complete = folder / ".complete"
    if complete.is_file():  # also for a branch: what is served changes when someone removes it, not by itself
        console.event("artifact.cached", of=model.name, folder=folder)
        return folder
    missing = [file for file in _listed(model, folder, PATTERNS) if file.will_download]
    _refuse_pickles(setting, model, folder)
    _refuse_full_disk(setting, folder, sum(file.file_size or 0 for file in missing))
    console.event("artifact.fetch", of=model.name, files=len(missing))
    snapshot_download(model.name, revision=model.revision, local_dir=folder, allow_patterns=PATTERNS)
    complete.touch()
    console.event("artifact.done", of=model.name, folder=folder)
    return folder


def _listed(model: HubId, folder: Path, patterns: list[str]) -> list[DryRunFileInfo]:
    return snapshot_download(
        model.name, revision=model.revision, local_dir=folder, allow_patterns=patterns, dry_run=True
    )


def _refuse_pickles(setting: str, model: HubId, folder: Path) -> None:
    if _listed(model, folder, ["*.safetensors"]) or not _listed(model, folder, _PICKLES):
        return
    raise Refusal(
        f"{setting}={model.name}: it has only pickled weights, which are never loaded; {_way_out(setting, model)}"
    )


def _way_out(setting: str, model: HubId) -> str:
    if setting == "OCK_ENCODER":
        return encoder_way_out(model.name)
    role = setting.removeprefix("OCK_").removesuffix("_MODEL").lower().replace("_", "-")
    return f"convert them with `python -m deploy package --{role} {model.name}`"


def _refuse_full_disk(setting: str, folder: Path, needed: int) -> None:
    folder.parent.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(folder.parent).free
    if needed + _SPARE_BYTES > free:
        raise Refusal(
            f"{setting}: {(needed + _SPARE_BYTES) >> 20} MiB are needed under {folder.parent} and {free >> 20} MiB are"
            " free; name another OCK_ARTIFACT_DIR"
        )
