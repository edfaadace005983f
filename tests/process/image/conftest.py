from __future__ import annotations

import uuid
from collections.abc import Iterator

import pytest

from server.ports import free_loopback_port
from tests.process.image.podman_cli import TWO_RANKS, Container, build, podman, started


@pytest.fixture(scope="session", autouse=True)
def image() -> None:
    build()


@pytest.fixture(scope="session")
def volume() -> Iterator[str]:
    name = f"ock-test-{uuid.uuid4().hex[:8]}"
    podman("volume", "create", name)
    yield name
    podman("volume", "rm", "--force", name)


@pytest.fixture(scope="session")
def server(volume: str) -> Iterator[Container]:
    """The image as it comes, the demo inside, on two ranks, with a volume for the conversations."""
    options = (*TWO_RANKS, "--volume", f"{volume}:/data")
    with started(f"{volume}-first", free_loopback_port(), *options) as container:
        container.wait_until_ready()
        yield container
