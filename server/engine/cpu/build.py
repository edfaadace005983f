"""Compiles the native kernels once, later starts find them; `python -m server.engine.cpu.build` goes ahead."""

from __future__ import annotations

import fcntl
import hashlib
import platform
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from server.engine.parallel.cache_folder import cache_folder
from server.engine.parallel.processor import Level
from server.own_folder import check_own_place

_SOURCES = Path(__file__).parent / "native"
_MAIN = _SOURCES / "kernels.cpp"
_FLAGS = ("-std=c++17", "-O3", "-fno-math-errno", "-fno-strict-aliasing", "-fPIC", "-shared", "-fopenmp", "-mfma")
# One file a kind of vectors, each for every processor that has them: with AVX-512, what is used of it is decided when
# a model is made.
_VECTORS = {
    "avx2": ("-mavx2",),
    "avx512": (
        *("-mavx512f", "-mavx512bw", "-mavx512vl", "-mavx512dq", "-mavx512vnni", "-mavx512bf16"),
        *("-mamx-tile", "-mamx-bf16", "-mamx-int8"),
    ),
}


class BuildError(RuntimeError):
    """The kernels cannot be compiled here; the sentence says what is missing."""


def library(level: Level, folder: Path | None = None) -> Path:
    """The compiled kernels for `level`: built ahead next to their source, or found or made in the user's cache folder.

    Raises:
        BuildError: not built ahead, and this is no x86-64, there is no g++, g++ fails, or somebody else could have put
            code there.
    """
    vectors = "avx2" if level is Level.AVX2 else "avx512"
    flags = (*_FLAGS, *_VECTORS[vectors])
    name = f"kernels-{vectors}-{_source_digest(flags)}.so"
    ahead = _SOURCES / "build" / name
    if folder is None and ahead.is_file():
        return ahead
    made = (folder or cache_folder()) / name
    try:
        check_own_place(made, "the kernels")
    except ValueError as error:
        raise BuildError(str(error)) from error
    if not made.is_file():
        _compile(made, flags)
    return made


def _source_digest(flags: tuple[str, ...]) -> str:
    digest = hashlib.sha256(" ".join(flags).encode())
    for path in sorted([*_SOURCES.glob("*.h"), _MAIN]):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def _compile(target: Path, flags: tuple[str, ...]) -> None:
    if platform.machine() not in ("x86_64", "AMD64"):
        raise BuildError(f"the kernels are for x86-64, this machine is {platform.machine()}")
    compiler = shutil.which("g++")
    if compiler is None:
        raise BuildError(
            "g++ is not installed, and the kernels were not built ahead (python -m server.engine.cpu.build)"
        )
    target.parent.mkdir(parents=True, exist_ok=True)
    with (target.parent / "kernels.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # several ranks start at once; one compiles
        if target.is_file():
            return
        with tempfile.TemporaryDirectory(dir=target.parent) as scratch:
            made = Path(scratch) / target.name
            command = [compiler, *flags, str(_MAIN), "-o", str(made)]
            result = subprocess.run(command, capture_output=True, text=True, check=False)
            if result.returncode:
                raise BuildError(f"{' '.join(command)} failed: {result.stderr.strip()[:2000]}")
            made.replace(target)


def main() -> int:
    """Compile the kernels next to their source, where every user of the image finds them."""
    try:
        for level in (Level.AVX2, Level.VNNI):
            print(library(level, _SOURCES / "build"))
    except BuildError as error:
        print(f"error: {error}; the engine will use torch's own operators, which are slower", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
