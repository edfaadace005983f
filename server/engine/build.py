"""Compiles the native kernels once; every later start finds the file. `python -m server.engine.build` does it ahead."""

from __future__ import annotations

import fcntl
import hashlib
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

_SOURCES = Path(__file__).parent / "native"
_MAIN = _SOURCES / "kernels.cpp"
# One file serves every x86-64 processor: which kernels run is decided when it is loaded, by what the processor has.
_FLAGS = (
    *("-std=c++17", "-O3", "-fno-math-errno", "-fPIC", "-shared", "-fopenmp", "-mfma"),
    *("-mavx512f", "-mavx512bw", "-mavx512vl", "-mavx512dq", "-mavx512vnni", "-mavx512bf16"),
    *("-mamx-tile", "-mamx-bf16", "-mamx-int8"),
)


class BuildError(RuntimeError):
    """The kernels cannot be compiled here; the sentence says what is missing."""


def library(folder: Path | None = None) -> Path:
    """The compiled kernels: built ahead next to their source, or found or made in the user's cache folder.

    Raises:
        BuildError: not built ahead, and this is no x86-64, there is no g++, or g++ fails.
    """
    name = f"kernels-{_source_digest()}.so"
    ahead = _SOURCES / "build" / name
    if folder is None and ahead.is_file():
        return ahead
    folder = folder or Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "openchatkit"
    made = folder / name
    if not made.is_file():
        _compile(made)
    return made


def _source_digest() -> str:
    digest = hashlib.sha256(" ".join(_FLAGS).encode())
    for path in sorted([*_SOURCES.glob("*.h"), _MAIN]):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def _compile(target: Path) -> None:
    if platform.machine() not in ("x86_64", "AMD64"):
        raise BuildError(f"the kernels are for x86-64, this machine is {platform.machine()}")
    compiler = shutil.which("g++")
    if compiler is None:
        raise BuildError("g++ is not installed, and the kernels were not built ahead (python -m server.engine.build)")
    target.parent.mkdir(parents=True, exist_ok=True)
    with (target.parent / "kernels.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # several ranks start at once; one compiles
        if target.is_file():
            return
        with tempfile.TemporaryDirectory(dir=target.parent) as scratch:
            made = Path(scratch) / target.name
            command = [compiler, *_FLAGS, str(_MAIN), "-o", str(made)]
            result = subprocess.run(command, capture_output=True, text=True, check=False)
            if result.returncode:
                raise BuildError(f"{' '.join(command)} failed: {result.stderr.strip()[:2000]}")
            made.replace(target)


def main() -> int:
    """Compile the kernels next to their source, where every user of the image finds them."""
    try:
        print(library(_SOURCES / "build"))
    except BuildError as error:
        print(f"error: {error}; the engine will use torch's own operators, which are slower", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
