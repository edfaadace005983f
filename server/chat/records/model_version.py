"""Which weights answered: a name that a stored turn keeps, different for other weights in the same place."""

from __future__ import annotations

import hashlib
from pathlib import Path

import msgspec

from server.artifacts.folder import MANIFEST
from server.config import ConfigError

_CONFIG, _WEIGHTS = "config.json", "*.safetensors"
_DIGITS = 12
_NUM_SAMPLES, _SAMPLE_BYTES = 4, 4096  # of each file: enough to differ after any training, and read in no time


class _Adapter(msgspec.Struct, frozen=True):
    source: str
    sha256: str


class _Package(msgspec.Struct, frozen=True):
    """The part of a packaged folder's manifest that says what it was made of; `weights.manifest` has it all."""

    source: str
    source_sha256: str
    revision: str = ""
    adapters: tuple[_Adapter, ...] = ()


def model_version(folder: Path) -> str:
    """Source, revision and digest as the manifest of a packaged folder has them, else the folder's name and a digest.

    The second digest is of config.json and of the weight files' names, sizes and samples, so it costs no long read.

    Raises:
        ConfigError: a file cannot be read.
    """
    try:
        return _of_package(folder / MANIFEST) or f"{folder.resolve().name} {_digest(folder)}"
    except OSError as error:
        raise ConfigError(f"OCK_CHAT_MODEL: {folder} cannot be read: {error}") from error


def _of_package(manifest: Path) -> str | None:
    """None where there is no manifest, or one of something else."""
    if not manifest.is_file():
        return None
    try:
        package = msgspec.json.decode(manifest.read_bytes(), type=_Package)
    except (ValueError, msgspec.DecodeError):  # also text that is not UTF-8
        return None
    name = f"{package.source}@{package.revision}" if package.revision else package.source
    adapters = [f"+ {adapter.source} {adapter.sha256[:_DIGITS]}" for adapter in package.adapters]
    return " ".join([name, package.source_sha256[:_DIGITS], *adapters])


def _digest(folder: Path) -> str:
    digest = hashlib.sha256((folder / _CONFIG).read_bytes())
    for path in sorted(folder.glob(_WEIGHTS)):
        num_bytes = path.stat().st_size
        digest.update(f"\n{path.name} {num_bytes}\n".encode())
        digest.update(_samples(path, num_bytes))
    return digest.hexdigest()[:_DIGITS]


def _samples(path: Path, num_bytes: int) -> bytes:
    """A few pieces of the file at even distances, the first from its beginning."""
    with path.open("rb") as file:
        samples = []
        for number in range(_NUM_SAMPLES):
            file.seek(number * num_bytes // _NUM_SAMPLES)
            samples.append(file.read(_SAMPLE_BYTES))
        return b"".join(samples)
