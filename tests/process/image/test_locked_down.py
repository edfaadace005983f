"""The image where nothing is allowed: any user, a root that is read-only, no capability, 64 MB of shared memory."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from server.ports import free_loopback_port
from tests.process.image.podman_cli import IMAGE, Container, podman, started

LOCKED = (
    *("--user", "12345:0", "--read-only", "--read-only-tmpfs=false", "--tmpfs", "/tmp"),
    *("--cap-drop", "all", "--security-opt", "no-new-privileges", "--shm-size", "64m"),
    *("--env", "OCK_TENSOR_PARALLEL_DEGREE=2", "--env", "OCK_STORE=sqlite:////tmp/conversations.sqlite"),
)
KUBERNETES = ("--env", "OCK_PORT=tcp://10.0.0.1:8080", "--env", "OCK_SERVICE_HOST=10.0.0.1")
STATUS = "print(open('/proc/self/status').read())"


@pytest.fixture(scope="module")
def locked() -> Iterator[Container]:
    with started("ock-test-locked", free_loopback_port(), *LOCKED, *KUBERNETES) as container:
        container.wait_until_ready()
        yield container


def test_two_ranks_serve_any_user_on_a_read_only_root_with_64_mb_of_shared_memory(locked: Container) -> None:
    status, answer = locked.post("/invocations", {"inputs": "Who was Abraham Lincoln?"})
    assert status == 200, answer
    assert answer["sources"][0]["title"] == "Abraham Lincoln"
    assert "the sums of 2 CPU ranks need 133 MiB: the ranks sum over sockets" in locked.log


def test_it_has_no_capability_and_its_caches_are_where_they_can_be_written(locked: Container) -> None:
    facts = dict(line.split(":\t", 1) for line in locked.python(STATUS).splitlines() if ":\t" in line)
    assert facts["CapEff"] == facts["CapBnd"] == "0" * 16
    assert facts["Uid"].split()[0] == "12345"
    assert "kernel.off" not in locked.log
    assert "passed over, as Kubernetes makes them of a service's name: OCK_PORT, OCK_SERVICE_HOST" in locked.log


def test_its_health_is_what_ping_says(locked: Container) -> None:
    assert podman("exec", locked.name, "python", "/app/container/health.py").returncode == 0
    elsewhere = ("--env", "OCK_PORT=9")
    assert podman("exec", *elsewhere, locked.name, "python", "/app/container/health.py").returncode == 1
    config = json.loads(podman("image", "inspect", IMAGE).stdout)[0]
    assert config["Config"]["User"] == "10001:0"
    assert "/app/container/health.py" in json.dumps(config.get("Healthcheck") or config["Config"].get("Healthcheck"))


def test_the_limits_of_its_control_group_are_the_ones_it_plans_with() -> None:
    done = podman("run", "--rm", "--memory", "1800m", "--cpus", "1", IMAGE, "check")
    assert "preflight device=cpu cores=1 memory_mib=1800 " in done.stdout, done.stdout + done.stderr


def test_the_parts_and_their_licences_are_listed_inside() -> None:
    code = (
        "import csv, json;"
        "parts = {part['name'].lower() for part in json.load(open('/app/sbom/sbom.cdx.json'))['components']};"
        "licences = {row['Name'].lower() for row in csv.DictReader(open('/app/sbom/licences.csv'))};"
        "debian = open('/app/sbom/debian-packages.txt').read();"
        "print({'torch', 'deepspeed', 'flask'} <= parts & licences, 'libgomp1' in debian)"
    )
    done = podman("run", "--rm", "--entrypoint", "python", IMAGE, "-c", code)
    assert done.stdout.strip() == "True True", done.stderr
