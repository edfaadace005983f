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


def test_faiss_for_gpus_is_in_the_builders_image_alone() -> None:
    assert [name for name in sorted(path.name for path in LOCKS.glob("*.lock")) if "faiss-gpu" in names_of(name)] == [
        "builder-gpu.lock"
    ]
    stages = re.split(r"^FROM ", (ROOT / "Dockerfile").read_text(), flags=re.MULTILINE)[1:]
    named = {stage.split()[2]: stage for stage in stages if stage.split()[1] == "AS"}
    assert "builder-$FLAVOR.lock" in named["builder"]
    assert 'ENTRYPOINT ["python", "-m", "index_builder"]' in named["builder"]
    assert stages[-1].split()[1] != "AS", "what is built by default is the image that serves"
    assert "builder" not in stages[-1]


def names_of(lock: str) -> set[str]:
    return {pin.partition("==")[0] for pin in locked(lock)}
