from __future__ import annotations

import runpy
import socket

import pytest
from gunicorn.util import parse_address

from server.ports import PortError, bind_address, free_loopback_port, hosts_to_listen_on, listen_fault
from tests import ROOT

CONF = ROOT / "container" / "gunicorn_conf.py"


def test_a_free_port_can_be_listened_on() -> None:
    assert listen_fault("127.0.0.1", free_loopback_port()) is None


def test_a_port_in_use_cannot() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        assert listen_fault("127.0.0.1", server.getsockname()[1]) == "Address already in use"


def test_another_fault_has_its_own_words() -> None:
    assert listen_fault("192.0.2.1", free_loopback_port()) == "Cannot assign requested address"  # nobody has it


@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0", "::", "::1", "localhost"])
def test_gunicorn_understands_the_bind_address_of_every_kind_of_host(host: str) -> None:
    assert parse_address(bind_address(host, 8080)) == (host, 8080)


def test_the_front_s_settings_bind_an_ipv6_host_in_brackets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OCK_HOST", "::")
    monkeypatch.setenv("OCK_PORT", "8080")
    assert runpy.run_path(str(CONF))["bind"] == ["[::]:8080"]
    monkeypatch.setenv("OCK_OPERATOR_PORT", "9090")
    assert runpy.run_path(str(CONF))["bind"] == ["[::]:8080", "[::]:9090"]
    monkeypatch.setenv("OCK_OPERATOR_PORT", "8080")
    with pytest.raises(SystemExit, match="OCK_OPERATOR_PORT=8080: legal is another port than OCK_PORT"):
        runpy.run_path(str(CONF))


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


def answers(host: str, hosts: list[str]) -> bool:
    """Whether a server on `hosts`, as gunicorn listens, can be reached at `host`."""
    port = free_loopback_port()
    servers = []
    for each in hosts:
        servers.append(socket.socket(socket.AF_INET6 if ":" in each else socket.AF_INET))
        servers[-1].setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        servers[-1].bind((each, port))
        servers[-1].listen()
    try:
        socket.create_connection((host, port), timeout=2).close()
    except OSError:
        return False
    finally:
        for server in servers:
            server.close()
    return True


def test_without_a_host_every_family_of_the_machine_is_served() -> None:
    hosts = hosts_to_listen_on("")
    assert answers("127.0.0.1", hosts)
    assert socket.has_dualstack_ipv6() is False or answers("::1", hosts) or not _has_ipv6_loopback()


def test_without_ipv6_ipv4_alone_is_served(monkeypatch: pytest.MonkeyPatch) -> None:
    real = socket.socket

    def without_ipv6(family: int = socket.AF_INET, *more: int) -> socket.socket:
        if family == socket.AF_INET6:
            raise OSError(97, "Address family not supported by protocol")
        return real(family, *more)

    monkeypatch.setattr(socket, "socket", without_ipv6)
    assert hosts_to_listen_on("") == ["0.0.0.0"]
    assert hosts_to_listen_on("10.0.0.1") == ["10.0.0.1"]


def _has_ipv6_loopback() -> bool:
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True
