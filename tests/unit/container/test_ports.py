from __future__ import annotations

import socket

import pytest

from container.ports import PortError, can_listen, free_loopback_port


def test_a_free_port_can_be_listened_on() -> None:
    assert can_listen("127.0.0.1", free_loopback_port())


def test_a_port_in_use_cannot() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        assert not can_listen("127.0.0.1", server.getsockname()[1])


def test_a_port_comes_from_the_safe_range_and_skips_what_is_taken() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        taken = server.getsockname()[1]
        if taken < 65000:
            assert taken < free_loopback_port(f"{taken}-{taken + 50}") <= taken + 50
        with pytest.raises(PortError, match="every port in it is taken"):
            free_loopback_port(f"{taken}-{taken}")


@pytest.mark.parametrize("text", ["5000", "6000-5000", "a-b", "0-10", "5000-70000"])
def test_a_malformed_range_is_refused(text: str) -> None:
    with pytest.raises(PortError, match="legal is first-last"):
        free_loopback_port(text)
