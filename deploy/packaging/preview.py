"""What `package --dry-run` prints: the downloads, the files of each packaged folder, the requests of its upload."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TextIO

from deploy.errors import DeployError
from deploy.packaging.checkpoint import Checkpoint
from server.artifacts.folder import MANIFEST
from server.engine.weights.carried_files import CARRIED_FILES


class PrintedDownloads:
    """In place of huggingface_hub's snapshot_download: prints what would be fetched; the folder is not there."""

    def __init__(self, out: TextIO) -> None:
        self._out = out

    def __call__(self, hub_id: str, revision: str | None, allow_patterns: list[str]) -> str:
        """Prints the download; a folder named after the revision, as in the hub's cache."""
        line = {"download": hub_id, "revision": revision or "main", "files": allow_patterns}
        print(json.dumps(line), file=self._out)
        return f"{hub_id}/{revision or 'main'}"


def planned_files(checkpoint: Checkpoint, degree: int, dtype: str) -> dict[str, int | None]:
    """The files of the packaged folder, with the bytes of their tensors where the checkpoint is here to tell.

    Raises:
        DeployError: AutoTP cannot cut the checkpoint for `degree`.
    """
    from server.engine.weights.sources import COMMON_FILE, rank_file  # torch takes seconds to import

    names = [COMMON_FILE, *(rank_file(rank) for rank in range(degree))]
    if not checkpoint.folder.is_dir():
        return dict.fromkeys([*names, *CARRIED_FILES, MANIFEST])
    sizes = _tensor_bytes(checkpoint.folder, degree, dtype)
    carried = {
        name: (checkpoint.folder / name).stat().st_size
        for name in CARRIED_FILES
        if (checkpoint.folder / name).is_file()
    }
    return {**dict(zip(names, sizes, strict=True)), **carried, MANIFEST: None}


def print_files(files: dict[str, int | None], folder: Path, out: TextIO) -> None:
    """One line of JSON for each file that would be written."""
    for name, num_bytes in files.items():
        print(json.dumps({"write": str(folder / name), "num_bytes": num_bytes}), file=out)


def _tensor_bytes(folder: Path, degree: int, dtype: str) -> list[int]:
    """Of the file all ranks share, then of each rank's own."""
    from server.engine.package.stored import specs_of
    from server.engine.weights.cut_plan import plan_cuts
    from server.engine.weights.sources import WeightsError

    try:
        plans = plan_cuts(folder, degree)
    except WeightsError as error:
        raise DeployError(str(error)) from error

    def num_bytes(names: list[str], rank: int) -> int:
        return sum(spec.num_bytes for name in names for spec in specs_of(name, plans[name], rank, dtype=dtype))

    whole = [name for name, plan in plans.items() if plan.dim is None]
    cut = [name for name, plan in plans.items() if plan.dim is not None]
    return [num_bytes(whole, 0), *(num_bytes(cut, rank) for rank in range(degree))]
