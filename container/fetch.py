"""Brings an artifact to this machine."""

from __future__ import annotations

from pathlib import Path

from container.console import Console
from container.refusal import Refusal


class Fetcher:
    """Finds or downloads the folder that a setting names."""

    def __init__(self, cache: Path, console: Console) -> None:
        self._cache = cache
        self._console = console

    def __call__(self, setting: str, value: str) -> Path:
        """The local folder of `setting`=`value`. Raises Refusal when it cannot be had."""
        folder = Path(value).expanduser()
        if folder.is_dir():
            return folder.resolve()
        raise Refusal(f"{setting}={value}: no such folder")
