"""An encoder's folder as the server takes it: all tensors in safetensors, no pickle, and a manifest of checksums."""

from __future__ import annotations

import json
import pickle
import shutil
from pathlib import Path
from typing import Any

from deploy.errors import DeployError
from deploy.packaging.checkpoint import Checkpoint
from server.artifacts.folder import MANIFEST, sha256_of

_PICKLE = "pytorch_model.bin"
_TENSORS = "model.safetensors"
_CARRIED = ("*.json", "*.txt", "*.model", "*.safetensors")  # configs, tokenizers, tensors; of modules in subfolders too


def write_encoder(checkpoint: Checkpoint, out: Path) -> None:
    """Write the encoder in `checkpoint` to `out`, whole or not at all; over a finished one it does nothing.

    Raises:
        DeployError: `out` holds another encoder, or there are no weights to read.
    """
    source = {"name": checkpoint.name, "revision": checkpoint.revision}
    if (out / MANIFEST).is_file():
        if json.loads((out / MANIFEST).read_text("utf-8")).get("encoder") != source:
            raise DeployError(f"--encoder: {out} holds another encoder; name another --out")
        return
    draft = out.with_name(f"{out.name}.part")
    shutil.rmtree(draft, ignore_errors=True)
    files = sorted({path for pattern in _CARRIED for path in checkpoint.folder.rglob(pattern) if path.is_file()})
    for path in files:
        target = draft / path.relative_to(checkpoint.folder)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, target)
    for path in sorted(checkpoint.folder.rglob(_PICKLE)):
        _convert(path, (draft / path.relative_to(checkpoint.folder)).with_name(_TENSORS))
    if not (draft / "config.json").is_file() or not any(draft.glob("*.safetensors")):
        raise DeployError(
            f"--encoder {checkpoint.name}: {checkpoint.folder} has no config.json, or no weights beside it"
        )
    _write_manifest(draft, source)
    shutil.rmtree(out, ignore_errors=True)
    draft.rename(out)


def _convert(pickled: Path, target: Path) -> None:
    """Reads tensors and nothing else out of a pickle; where safetensors lie beside it, they count."""
    if target.is_file():
        return
    import torch
    from safetensors.torch import save_file

    try:
        tensors = torch.load(pickled, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, ValueError, pickle.UnpicklingError) as error:
        raise DeployError(f"--encoder: {pickled} cannot be read as tensors: {error}") from error
    target.parent.mkdir(parents=True, exist_ok=True)
    save_file({name: _own(tensor) for name, tensor in tensors.items()}, target, metadata={"format": "pt"})


def _own(tensor: Any) -> Any:
    """A copy of its own: safetensors refuses two names for one piece of memory."""
    return tensor.clone().contiguous()


def _write_manifest(folder: Path, source: dict[str, str]) -> None:
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    files = {
        path.relative_to(folder).as_posix(): {"sha256": sha256_of(path), "num_bytes": path.stat().st_size}
        for path in paths
    }
    (folder / MANIFEST).write_text(json.dumps({"encoder": source, "files": files}, indent=2) + "\n", "utf-8")
