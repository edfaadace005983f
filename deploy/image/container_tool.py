"""docker or podman: the commands deploy gives them. Both understand the same words."""

from __future__ import annotations

import json
import shutil
import subprocess
from typing import TextIO

from deploy.errors import DeployError

PLATFORM = "linux/amd64"  # of SageMaker's GPU instances
_KNOWN = ("docker", "podman")


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
        ended = subprocess.run(command, input=secret, text=True, check=False)
        if ended.returncode != 0:
            raise DeployError(f"{' '.join(command)} ended with status {ended.returncode}")

    def build_flags(self) -> list[str]:
        """What makes `build` give one image for SageMaker's machines, in Docker's format, wherever it runs."""
        flags = ["--platform", PLATFORM]
        if self.name == "podman":
            flags += ["--format", "docker"]
        elif self._has_buildkit():  # its record of provenance makes an OCI index of an image, which SageMaker refuses
            flags.append("--provenance=false")
        return flags

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
        if shutil.which(name) and subprocess.run([name, "info"], capture_output=True, check=False).returncode == 0:
            return ContainerTool(name)
    raise DeployError(f"{' and '.join(names)}: not installed, or no daemon answers; image build --codebuild needs none")
