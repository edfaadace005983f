"""Whether an artifact folder holds what the server will read from it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from container.refusal import Refusal
from server.artifacts.folder import MANIFEST
from server.artifacts.json_object import read_json_object
from server.engine.weights.checkpoint_check import check_checkpoint
from server.engine.weights.checkpoint_files import CheckpointError, is_packaged, refuse_pointers, weight_files
from server.engine.weights.head_geometry import HeadGeometry


def check_model(setting: str, folder: Path, world: int) -> None:
    """Raises Refusal unless `folder` is a checkpoint that `world` ranks can share."""
    _check_folder(setting, folder)
    config = _read_json(setting, folder / "config.json")
    _check_checkpoint(setting, folder)
    _check_package(setting, folder, world)
    try:
        fault = HeadGeometry.of(config).fault(world)
    except (TypeError, ValueError):  # another architecture, or a damaged config.json: the engine says what is missing
        return
    if fault:
        raise Refusal(f"OCK_TENSOR_PARALLEL_DEGREE={world}, {setting}={folder}: its {fault}")


def _check_checkpoint(setting: str, folder: Path) -> None:
    try:
        check_checkpoint(folder)
        if is_packaged(folder):
            refuse_pointers(sorted(folder.glob("*.safetensors")))
            return
        files = weight_files(folder)
    except CheckpointError as error:
        raise Refusal(f"{setting}: {error}") from error
    if files.pickled:
        raise Refusal(
            f"{setting}={folder}: only pickled weights (.bin) are there, which are never loaded;"
            " convert them with `python -m deploy package`"
        )


def _check_package(setting: str, folder: Path, world: int) -> None:
    if not (folder / MANIFEST).is_file():
        return
    degree = _read_json(setting, folder / MANIFEST).get("tensor_parallel_degree")
    if degree != world:
        raise Refusal(f"{setting}={folder}: packaged for degree {degree}, OCK_TENSOR_PARALLEL_DEGREE={world}")


def check_index(setting: str, folder: Path) -> None:
    """Raises Refusal unless `folder` is an index folder."""
    _check_folder(setting, folder)
    _read_json(setting, folder / MANIFEST)
    if not (folder / "knn.index").is_file():
        raise Refusal(f"{setting}={folder}: knn.index is missing")


def read_encoder_name(setting: str, index: Path) -> str:
    """The encoder that the index in `index` was built with. Raises Refusal when its manifest does not say."""
    encoder = _read_json(setting, index / MANIFEST).get("encoder")
    name = encoder.get("name") if isinstance(encoder, dict) else None
    if not isinstance(name, str) or not name:
        raise Refusal(f"{setting}={index}: manifest.json names no encoder; set OCK_ENCODER")
    return name


def check_encoder(setting: str, folder: Path) -> None:
    """Raises Refusal unless `folder` is an encoder folder whose weights are all in safetensors files."""
    _check_folder(setting, folder)
    _read_json(setting, folder / "config.json")
    if not any(folder.glob("*.safetensors")):
        raise Refusal(f"{setting}={folder}: no .safetensors file beside config.json; {encoder_way_out(str(folder))}")
    for pickled in sorted(folder.glob("*/pytorch_model.bin")):  # of a dense layer, say
        if not (pickled.parent / "model.safetensors").is_file():
            within = pickled.relative_to(folder)
            raise Refusal(f"{setting}={folder}: {within} is pickled; {encoder_way_out(str(folder))}")


def encoder_way_out(source: str) -> str:
    """What to do about an encoder with pickled weights, which are never loaded."""
    return f"convert it with `python -m deploy package --encoder {source} --out FOLDER`"


def _check_folder(setting: str, folder: Path) -> None:
    if not folder.is_dir():
        raise Refusal(f"{setting}={folder}: no such folder")


def _read_json(setting: str, path: Path) -> dict[str, Any]:
    try:
        return read_json_object(path)
    except FileNotFoundError:
        raise Refusal(f"{setting}={path.parent}: {path.name} is missing") from None
    except ValueError as error:
        raise Refusal(f"{setting}={path.parent}: {error}") from error
