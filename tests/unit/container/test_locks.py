from __future__ import annotations

import re
import tomllib

import pytest

from tests import ROOT

LOCKS = ROOT / "container" / "requirements"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def locked(*names: str) -> set[str]:
    text = "\n".join((LOCKS / name).read_text() for name in names)
    return set(re.findall(r"^[a-z0-9][a-z0-9.-]*==[^ ;\\\n]+", text, re.MULTILINE))


@pytest.mark.parametrize(
    ("extras", "locks"),
    [
        (["server", "cpu", "otel"], ["gpu.lock", "deepspeed.lock"]),
        (["server", "cpu", "otel"], ["cpu.lock", "deepspeed.lock", "torch-cpu.txt"]),
        (["sbom"], ["sbom.lock", "cpu.lock"]),
        (["server", "cpu", "index", "demo"], ["cpu.lock", "deepspeed.lock", "torch-cpu.txt", "demo.lock"]),
        (["server", "index", "ray", "gpu"], ["gpu.lock", "deepspeed.lock", "builder-gpu.lock"]),
        (["server", "index", "ray", "cpu"], ["cpu.lock", "deepspeed.lock", "torch-cpu.txt", "builder-cpu.lock"]),
    ],
)
def test_every_pin_of_the_project_is_in_the_locks_of_the_image(extras: list[str], locks: list[str]) -> None:
    named = {*PROJECT["dependencies"], *(pin for extra in extras for pin in PROJECT["optional-dependencies"][extra])}
    pinned = {pin for pin in named if not pin.startswith("openchatkit-server")}  # an extra that brings another
    missing = {re.sub(r"\[\w+\]", "", pin) for pin in pinned} - {name.removesuffix("+cpu") for name in locked(*locks)}
    assert not missing, "run container/requirements/lock.sh"


@pytest.mark.parametrize("lock", sorted(path.name for path in LOCKS.glob("*.lock")))
def test_every_locked_package_has_a_hash(lock: str) -> None:
    text = (LOCKS / lock).read_text()
    assert len(re.findall(r"^\S+==.* \\$", text, re.MULTILINE)) == len(locked(lock)) > 0
