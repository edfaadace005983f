"""docker or podman: the commands deploy gives them. Both understand the same words."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import TextIO

from deploy.errors import DeployError

PLATFORM = "linux/amd64"  # of SageMaker's GPU instances
_KNOWN = ("docker", "podman")
_PODMAN_SETTINGS = Path(__file__).resolve().parents[2] / "container" / "containers.conf"


class ContainerTool:
    """Runs commands of one tool, or prints them in a dry run."""

    def __init__(self, name: str, dry_run_out: TextIO | None = None) -> None:
        self.name = name
        self._out = dry_run_out

    def run(self, *arguments: str, secret: str | None = None) -> None:
        """Runs the tool; `secret` goes to its standard input, never to its command line.

        Raises:
            DeployError: it ended with another status than 0.
        """
        command = [self.name, *arguments]
        if self._out is not None:
            print(json.dumps({"command": command}), file=self._out)
            return
        ended = subprocess.run(command, input=secret, text=True, check=False, env=_environment(self.name))
        if ended.returncode != 0:
            raise DeployError(f"{' '.join(command)} ended with status {ended.returncode}")

    def build_flags(self) -> list[str]:
        """What makes `build` give one image for SageMaker's machines, in Docker's format, wherever it runs."""
        flags = ["--platform", PLATFORM]
        if self.name == "podman":
            return [*flags, "--format", "docker", *_podman_flags()]
        if self._has_buildkit():  # its record of provenance makes an OCI index of an image, which SageMaker refuses
            flags.append("--provenance=false")
        return flags

    def pinned(self, base: str) -> str:
        """`base` by the digest that its tag stands for now; as it is where that has none, and in a dry run."""
        if self._out is not None or "@sha256:" in base:
            return base
        self._ask("pull", "--quiet", base)
        found = self._ask("image", "inspect", "--format", '{{join .RepoDigests " "}}', base)
        return next((name for name in found.split() if not name.startswith("localhost/")), base)

    def image_bytes(self, tag: str) -> int:
        """The size of the image `tag` on this machine."""
        return int(self._ask("image", "inspect", "--format", "{{.Size}}", tag))

    def _ask(self, *arguments: str) -> str:
        """What the tool prints; nothing where it fails."""
        command, environ = [self.name, *arguments], _environment(self.name)
        return subprocess.run(command, capture_output=True, text=True, check=False, env=environ).stdout

    def _has_buildkit(self) -> bool:
        """Docker's older builder makes no record and does not know the flag. A dry run takes today's for granted."""
        if self._out is not None:
            return True
        return subprocess.run([self.name, "buildx", "version"], capture_output=True, check=False).returncode == 0


def find_tool(wanted: str | None, dry_run_out: TextIO | None = None) -> ContainerTool:
    """The tool asked for, else the first of docker and podman that works here. A dry run asks nothing of it.

    Raises:
        DeployError: there is none.
    """
    names = [wanted] if wanted else list(_KNOWN)
    if dry_run_out is not None:
        return ContainerTool(names[0], dry_run_out)
    for name in names:
        if shutil.which(name) and _works(name):
            return ContainerTool(name)
    raise DeployError(f"{' and '.join(names)}: not installed, or no daemon answers; image build --codebuild needs none")


def _works(name: str) -> bool:
    asked = subprocess.run([name, "info"], capture_output=True, check=False, env=_environment(name))
    return asked.returncode == 0


def _podman_flags() -> list[str]:
    # The machine's certificates, for package registries behind a proxy of its own.
    flags = ["--volume", "/etc/ssl/certs:/etc/ssl/certs:ro"]
    if _is_bare_root():
        flags += ["--isolation", "chroot", "--network", "host"]
    wheels = os.environ.get("PIP_FIND_LINKS", "")
    if Path(wheels).is_dir() and wheels:
        flags += ["--build-arg", f"PIP_FIND_LINKS={wheels}", "--volume", f"{wheels}:{wheels}:ro"]
    return flags


def _environment(name: str) -> dict[str, str]:
    defaults = {"CONTAINERS_CONF": str(_PODMAN_SETTINGS)} if name == "podman" and _is_bare_root() else {}
    return {**defaults, **os.environ}


def _is_bare_root() -> bool:
    """Root without a service manager, as in a build machine's container: podman needs settings of its own."""
    return os.getuid() == 0 and not Path("/run/systemd/system").is_dir()
