"""What this image is made of."""

from __future__ import annotations

import importlib.metadata
import platform
import tomllib
from pathlib import Path

_PRODUCT = "openchatkit-server"
_PARTS = ("torch", "deepspeed", "transformers", "sentence-transformers", "flask", "gunicorn", "boto3")
_FAISS = ("faiss-cpu", "faiss-gpu")  # one of them, by flavour
_PYPROJECT = Path(__file__).resolve().parent.parent / "pyproject.toml"


def version_lines() -> list[str]:
    """One line a part, `name version`; the product first."""
    lines = [f"{_PRODUCT} {product_version()}", f"python {platform.python_version()}"]
    faiss = [name for name in _FAISS if _version(name) != "missing"] or ["faiss"]
    return [*lines, *(f"{name} {_version(name)}" for name in (*_PARTS, *faiss))]


def product_version() -> str:
    """The product's version: of the source tree that runs, else of the installed package."""
    if _PYPROJECT.is_file():
        return str(tomllib.loads(_PYPROJECT.read_text(encoding="utf-8"))["project"]["version"])
    return _version(_PRODUCT)


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "missing"
