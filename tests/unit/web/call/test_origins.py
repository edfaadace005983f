"""A server on loopback answers under its own names, so that a page cannot reach it under one of the page's."""

from __future__ import annotations

import pytest

from server.config import Settings
from server.errors import ErrorCode, ServiceError
from server.web.app import create_app
from server.web.call.origins import KnownHosts
from tests.unit.web.fakes import Fakes


def is_let_in(name: str | None, **settings: str) -> bool:
    try:
        KnownHosts(Settings(**settings)).check(name)  # type: ignore[arg-type]
    except ServiceError as error:
        return error.code is not ErrorCode.FORBIDDEN
    return True


@pytest.mark.parametrize("bound", ["127.0.0.1", "localhost", "::1", "127.0.0.53"])
@pytest.mark.parametrize(
    ("host", "let_in"),
    [
        ("localhost", True),
        ("LOCALHOST:8080", True),
        ("localhost.:8080", True),
        ("chat.localhost", True),
        ("127.0.0.1:8080", True),
        ("[::1]:8080", True),
        ("192.168.1.7", True),
        (None, True),
        ("evil.example", False),
        ("evil.example:8080", False),
        ("localhost.evil.example", False),
        ("127.0.0.1.evil.example", False),
        ("127.0.0.1@evil.example", False),
        ("", False),
        ("[", False),
    ],
)
def test_on_loopback_names_of_others_are_refused(bound: str, host: str | None, let_in: bool) -> None:
    assert is_let_in(host, host=bound) is let_in


def test_elsewhere_every_name_is_legal_until_some_are_named() -> None:
    assert is_let_in("evil.example")
    assert is_let_in("evil.example", host="0.0.0.0")
    named = {"allowed_hosts": "Chat.Example, other.example"}
    assert is_let_in("chat.example:443", **named)
    assert is_let_in("10.0.0.7:8080", **named)  # as load balancers ask for /ping
    assert not is_let_in("evil.example", **named)


def test_a_tunnels_name_can_be_added_and_the_rule_switched_off() -> None:
    assert is_let_in("tunnel.example", host="127.0.0.1", allowed_hosts="tunnel.example")
    assert is_let_in("evil.example", host="127.0.0.1", allowed_hosts="*")


@pytest.mark.parametrize("path", ["/ping", "/", "/sessions/x", "/nowhere"])
def test_a_rebound_name_gets_nothing(path: str) -> None:
    client = create_app(Fakes(settings=Settings(host="127.0.0.1", threads=12)).services).test_client()
    response = client.get(path, headers={"Host": "evil.example:18080"})
    assert response.status_code == 403
    assert response.json is not None
    assert response.json["error"]["field"] == "Host"
    assert client.get("/ping", headers={"Host": "localhost:18080"}).status_code == 200
