"""What a packaged model folder says of itself: manifest.json, written last, so that its presence means completeness."""

from __future__ import annotations

from pathlib import Path

import msgspec

from server.artifacts.folder import MANIFEST, sha256_of
from server.engine.weights.golden import Golden
from server.engine.weights.sources import WeightsError, rank_file

FORMAT = 1


class Adapter(msgspec.Struct, frozen=True):
    """A LoRA adapter that was merged."""

    source: str
    sha256: str


class Identity(msgspec.Struct, frozen=True):
    """What a package was made of and how; two packages of the same identity hold the same bytes."""

    source: str
    revision: str
    source_sha256: str
    adapters: tuple[Adapter, ...]
    dtype: str
    tensor_parallel_degree: int


class Manifest(Identity, frozen=True):
    """The manifest of a packaged model: `files` maps the name of each file to its sha256."""

    files: dict[str, str]
    format: int = FORMAT
    golden: Golden | None = None

    def files_of(self, rank: int) -> list[str]:
        """The files that `rank` reads: all but the other ranks' own."""
        return [name for name in self.files if not name.startswith("rank-") or name == rank_file(rank)]


def read_manifest(folder: Path) -> Manifest:
    """The manifest of the packaged `folder`.

    Raises:
        WeightsError: it is missing, damaged, or of a format this program does not read.
    """
    path = folder / MANIFEST
    try:
        manifest = msgspec.json.decode(path.read_bytes(), type=Manifest)
    except (OSError, ValueError, msgspec.DecodeError, RecursionError) as error:
        raise WeightsError(f"{path}: not a readable manifest ({error}); fetch the package again") from error
    if manifest.format != FORMAT:
        raise WeightsError(f"{path}: format {manifest.format}; this program reads {FORMAT}: package the model again")
    return manifest


def encode_manifest(manifest: Manifest) -> bytes:
    """The manifest as indented JSON."""
    return msgspec.json.format(msgspec.json.encode(manifest), indent=1) + b"\n"


def check_file(folder: Path, name: str, expected: str) -> None:
    """Compare the checksum of a file with the manifest's.

    Raises:
        WeightsError: it is missing, or not what was packaged; the sentence names it.
    """
    path = folder / name
    if not path.is_file():
        raise WeightsError(f"{path} is missing, the manifest lists it; fetch the package again")
    found = sha256_of(path)
    if found != expected:
        raise WeightsError(
            f"{path} is damaged: its sha256 is {found[:16]}..., the manifest says {expected[:16]}...; fetch it again"
        )
