"""Which files of a checkpoint folder hold its weights. No torch: the supervisor asks before it starts a rank."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from server.artifacts.folder import MANIFEST
from server.artifacts.json_object import read_json_object

log = logging.getLogger(__name__)

_LFS_POINTER = b"version https://git-lfs.github.com/spec/"
_SHARD = re.compile(r".+-(\d{5})-of-(\d{5})\.\w+")
_ADAPTER = "adapter_model"
_USUAL = ("model", "pytorch_model")  # what transformers calls its files


class CheckpointError(ValueError):
    """A folder that is no whole checkpoint; the sentence names the file, what was found and what to do."""


@dataclass(frozen=True)
class WeightFiles:
    """The files that count, by name, and those beside them that do not; `homes` is what the index says of tensors."""

    paths: tuple[Path, ...]
    left_aside: tuple[Path, ...]
    pickled: bool = False
    homes: Mapping[str, str] = field(default_factory=dict)

    def home_of(self, tensor: str, holders: Iterable[Path]) -> Path:
        """Which of the files that hold `tensor` counts.

        Raises:
            CheckpointError: several do, and no index says which.
        """
        found = list(holders)
        for path in found:
            if len(found) == 1 or path.name == self.homes.get(tensor):
                return path
        names = " and in ".join(path.name for path in found)
        raise CheckpointError(
            f"{found[0].parent}: tensor {tensor!r} is in {names}, and no index says which counts: remove what does not "
            "belong to this checkpoint"
        )


def is_packaged(folder: Path) -> bool:
    """Whether `folder` holds per-rank files rather than a plain checkpoint."""
    return (folder / MANIFEST).is_file() and any(folder.glob("rank-*.safetensors"))


def weight_files(folder: Path) -> WeightFiles:
    """Safetensors files where there are any, else pickled ones; an index decides which, and an adapter never counts.

    Raises:
        CheckpointError: no weights there, a shard that is missing, or a git-lfs pointer in the place of a file.
    """
    for form, pickled in (("safetensors", False), ("bin", True)):
        beside = [path for path in sorted(folder.glob(f"*.{form}")) if not path.name.startswith(_ADAPTER)]
        beside = [path for path in beside if not pickled or path.name.startswith("pytorch_model")]
        index = _index(folder, form)
        if index is not None or beside:
            homes = {} if index is None else _homes(index)
            paths = _without_index(beside) if index is None else _named_by(index, homes)
            refuse_pointers(paths)
            return WeightFiles(tuple(paths), tuple(path for path in beside if path not in paths), pickled, homes)
    if any(folder.glob(f"{_ADAPTER}.*")):
        raise CheckpointError(
            f"{folder}: there is only an adapter, {_ADAPTER}, and no model: merge it into its base with "
            "'python -m deploy package --adapter'"
        )
    raise CheckpointError(f"{folder}: neither *.safetensors nor pytorch_model*.bin is there")


def warn_of_files_left_aside(files: WeightFiles) -> None:
    """A line in the log for each file beside the weights that nobody reads."""
    for path in files.left_aside:
        log.warning("checkpoint.left_aside file=%s: the checkpoint's index does not name it", path)


def refuse_pointers(paths: Iterable[Path]) -> None:
    """Raises CheckpointError for a git-lfs pointer, or a link to nowhere, in the place of a file."""
    for path in paths:
        if not path.is_file():
            raise CheckpointError(f"{path}: this is no file, or a link to none: fetch the checkpoint again")
        with path.open("rb") as file:
            if file.read(len(_LFS_POINTER)) == _LFS_POINTER:
                raise CheckpointError(f"{path}: this is a git-lfs pointer and not the file: run 'git lfs pull' there")


def read_json(path: Path) -> dict[str, Any]:
    """The object in `path`.

    Raises:
        CheckpointError: it is missing, no JSON object, or begins with a byte-order mark (transformers stops at one).
    """
    try:
        refuse_pointers([path])
        return read_json_object(path, may_have_mark=False)
    except CheckpointError:
        raise
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path.parent}/{error}") from error


def _index(folder: Path, form: str) -> Path | None:
    """The usual one where there are several: others are of another form of the same weights."""
    found = sorted(folder.glob(f"*.{form}.index.json"))
    usual = [path for path in found if path.name.split(".")[0] in _USUAL]
    return next(iter(usual or found), None)


def _homes(index: Path) -> dict[str, str]:
    homes = read_json(index).get("weight_map")
    if not isinstance(homes, dict) or not homes:
        raise CheckpointError(f"{index} has no weight_map: fetch the checkpoint again")
    return {tensor: str(file) for tensor, file in homes.items()}


def _named_by(index: Path, homes: Mapping[str, str]) -> list[Path]:
    paths = [index.parent / name for name in sorted(set(homes.values()))]
    if missing := [path for path in paths if path.parent != index.parent or not path.is_file()]:
        raise CheckpointError(
            f"{missing[0]} is missing, one of {len(paths)} files that {index.name} names: fetch the checkpoint again"
        )
    return paths


def _without_index(beside: list[Path]) -> list[Path]:
    """The one whole file where there is one, else all shards."""
    shards = [path for path in beside if _SHARD.fullmatch(path.name)]
    whole = [path for path in beside if path not in shards]
    if whole:
        usual = [path for path in whole if path.stem in _USUAL]
        return usual or whole
    total = int(_SHARD.fullmatch(shards[0].name)[2])  # type: ignore[index] # they all match
    if len(shards) != total:
        raise CheckpointError(
            f"{shards[0].parent}: {len(shards)} shards are there, their names say {total}: fetch the checkpoint again"
        )
    return shards
