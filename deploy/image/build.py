"""The one way the image is built: `python3 -m deploy.image.build`, which is `make image`, and `deploy image build`.

The standard library is enough. Settings of the module's own command, from the environment:
    FLAVOR          gpu (default) or cpu
    IMAGE           the tag, openchatkit:FLAVOR by default
    BASE_IMAGE      instead of the Dockerfile's; "local" makes one with container/base-image.sh
    TARGET          builder for the image that makes indexes, instead of the one that serves
    PIP_FIND_LINKS  a folder with the CPU build of torch, instead of downloading it (podman only)
"""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from deploy.errors import DeployError
from deploy.image.container_tool import ContainerTool, find_tool
from deploy.image.sources import revision

ROOT = Path(__file__).resolve().parents[2]
_BASE = "ARG BASE_IMAGE="
_LOCAL_BASE = "localhost/openchatkit-base:bookworm"
BUILDER = "builder"


@dataclass(frozen=True)
class Recipe:
    """What is built: the folder of the sources, the Dockerfile's arguments, and its stage; "": the one that serves."""

    context: Path
    arguments: Mapping[str, str]
    target: str = ""

    def flags(self, changed: Mapping[str, str] | None = None) -> list[str]:
        """What `build` is told of them."""
        named = sorted({**self.arguments, **(changed or {})}.items())
        given = [part for name, value in named for part in ("--build-arg", f"{name}={value}")]
        return [*given, *(["--target", self.target] if self.target else [])]


def build_args(context: Path, flavor: str, base_image: str | None = None, given: Iterable[str] = ()) -> dict[str, str]:
    """The Dockerfile's arguments for the sources in `context`; `given` are NAME=VALUE and win.

    Raises:
        DeployError: `context` is no source folder, or an argument is not NAME=VALUE.
    """
    if not (context / "Dockerfile").is_file():
        raise DeployError(f"--context {context}: there is no Dockerfile in it")
    known = {"FLAVOR": flavor, "BASE_IMAGE": base_image, "REVISION": revision(context), "VERSION": _version(context)}
    arguments = {name: value for name, value in known.items() if value}
    for argument in given:
        name, equals, value = argument.partition("=")
        if not equals:
            raise DeployError(f"--build-arg {argument}: expected NAME=VALUE")
        arguments[name] = value
    return arguments


def build(tool: ContainerTool, recipe: Recipe, tag: str) -> None:
    """Builds the recipe as `tag`. Raises DeployError when the tool fails."""
    base = recipe.arguments.get("BASE_IMAGE") or _named_base(recipe.context)
    flags = recipe.flags({"BASE_IMAGE": tool.pinned(base)} if base else None)
    tool.run("build", *tool.build_flags(), *flags, "--tag", tag, str(recipe.context))


def main(environ: Mapping[str, str]) -> int:
    """Builds the image of these sources and says how big it is; the exit status."""
    flavor = environ.get("FLAVOR") or "gpu"
    target = environ.get("TARGET", "")
    tag = environ.get("IMAGE") or "-".join(filter(None, (f"openchatkit:{flavor}", target)))
    try:
        base = environ.get("BASE_IMAGE")
        if base == "local":
            base = _LOCAL_BASE
            subprocess.run([ROOT / "container" / "base-image.sh", base], check=True)
        tool = find_tool(None)
        build(tool, Recipe(ROOT, build_args(ROOT, flavor, base), target), tag)
        print(f"{tag}: {tool.image_bytes(tag) // 10**6} MB")
    except (DeployError, subprocess.CalledProcessError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


def _named_base(context: Path) -> str | None:
    """The base image that the Dockerfile in `context` names."""
    lines = (context / "Dockerfile").read_text("utf-8").splitlines()
    return next((line.removeprefix(_BASE) for line in lines if line.startswith(_BASE)), None)


def _version(context: Path) -> str | None:
    project = context / "pyproject.toml"
    return str(tomllib.loads(project.read_text("utf-8"))["project"]["version"]) if project.is_file() else None


if __name__ == "__main__":
    sys.exit(main(os.environ))
