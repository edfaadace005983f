"""A published folder: its files and, written last, a manifest that names them with their checksums.

Packaged models, indexes and encoders all have this form, here, in an upload and in S3.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

MANIFEST = "manifest.json"
_READ_BYTES = 1 << 20


def sha256_of(path: Path, on_bytes: Callable[[int], object] | None = None) -> str:
    """The checksum of what the file holds now, in hex; `on_bytes` hears how many bytes each read gave.

    Raises:
        OSError: the file is not there or cannot be read.
    """
    with path.open("rb") as file:
        if on_bytes is None:
            return hashlib.file_digest(file, "sha256").hexdigest()
        digest = hashlib.sha256()
        while block := file.read(_READ_BYTES):
            digest.update(block)
            on_bytes(len(block))
    return digest.hexdigest()
