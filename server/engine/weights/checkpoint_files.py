"""Which files of a checkpoint folder hold its weights. No torch: the supervisor asks before it starts a rank."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from server.artifacts.folder import MANIFEST

log = logging.getLogger(__name__)

_LFS_POINTER = b"version https://git-lfs.github.com/spec/"
_SHARD = re.compile(r".+-(\d{5})-of-(\d{5})\.\w+")
_ADAPTER = "adapter_model"


class CheckpointError(ValueError):
    """A folder that is no whole checkpoint; the sentence names the file, what was found and what to do."""


@dataclass(frozen=True)
class WeightFiles:
    """The files that count, by name, and those beside them that do not."""

    paths: tuple[Path, ...]
    left_aside: tuple[Path, ...]
    pickled: bool = False


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
        index = next(iter(sorted(folder.glob(f"*.{form}.index.json"))), None)
        if index is not None or beside:
            paths = _named_by(index) if index is not None else _without_index(beside)
            refuse_pointers(paths)
            return WeightFiles(tuple(paths), tuple(path for path in beside if path not in paths), pickled)
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
    """Raises CheckpointError for a git-lfs pointer in the place of a file."""
    for path in paths:
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
        text = path.read_text("utf-8")
    except FileNotFoundError:
        raise CheckpointError(f"{path} is missing") from None
    except (OSError, UnicodeDecodeError) as error:
        raise CheckpointError(f"{path} cannot be read ({error})") from error
    if text.startswith("\ufeff"):
        raise CheckpointError(f"{path} begins with a byte-order mark: save it as UTF-8 without one")
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{path} is not JSON ({error})") from error
    if not isinstance(value, dict):
        raise CheckpointError(f"{path} does not hold an object")
    return value


def _named_by(index: Path) -> list[Path]:
    names = read_json(index).get("weight_map")
    if not isinstance(names, dict) or not names:
        raise CheckpointError(f"{index} has no weight_map: fetch the checkpoint again")
    paths = [index.parent / name for name in sorted(set(map(str, names.values())))]
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
        usual = [path for path in whole if path.stem in ("model", "pytorch_model")]
        return usual or whole
    total = int(_SHARD.fullmatch(shards[0].name)[2])  # type: ignore[index] # they all match
    if len(shards) != total:
        raise CheckpointError(
            f"{shards[0].parent}: {len(shards)} shards are there, their names say {total}: fetch the checkpoint again"
        )
    return shards
