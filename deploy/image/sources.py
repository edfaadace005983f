"""The product's sources as one zip, for building the image elsewhere."""

from __future__ import annotations

import io
import subprocess
import zipfile
from pathlib import Path

_IGNORED = {".git", ".venv", "__pycache__", "node_modules", "tests"}
_ZIP_DATE = (1980, 1, 1, 0, 0, 0)  # the earliest a zip can say: the same sources give the same bytes


def zipped(context: Path) -> bytes:
    """The build context as a zip with fixed dates: what git tracks or would, else all but hidden and test folders."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in _sources(context):
            entry = zipfile.ZipInfo(path.relative_to(context).as_posix(), _ZIP_DATE)
            entry.external_attr = (path.stat().st_mode & 0xFFFF) << 16
            archive.writestr(entry, path.read_bytes(), zipfile.ZIP_DEFLATED)
    return buffer.getvalue()


def revision(context: Path) -> str | None:
    """The commit that `context` is at; None where there is no git."""
    if not (context / ".git").exists():
        return None
    asked = subprocess.run(
        ["git", "-C", str(context), "rev-parse", "HEAD"], capture_output=True, text=True, check=False
    )
    return asked.stdout.strip() or None


def _sources(context: Path) -> list[Path]:
    listing = ["git", "-C", str(context), "ls-files", "-co", "--exclude-standard", "-z"]
    if (context / ".git").exists():
        found = subprocess.run(listing, check=True, capture_output=True).stdout.decode()
        paths = [context / name for name in found.split("\0") if name]
    else:
        paths = list(context.rglob("*"))
    return sorted(path for path in paths if path.is_file() and not _IGNORED & set(path.relative_to(context).parts))
