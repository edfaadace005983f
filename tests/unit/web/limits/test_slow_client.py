"""Whether a client is still there is known without a wait, whatever time limit its socket has."""

from __future__ import annotations

import socket
import time

from server.web.limits.slow_client import has_left


def test_a_client_is_there_until_it_closes_its_side() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.settimeout(30)
        environ = {"gunicorn.socket": ours}
        started = time.monotonic()
        assert not has_left(environ)
        theirs.sendall(b"the next request")
        assert not has_left(environ)
        assert ours.recv(100) == b"the next request", "what it sent stays there"
        theirs.close()
        assert has_left(environ)
        assert time.monotonic() - started < 20


def test_a_server_that_shows_no_socket_is_never_without_its_client() -> None:
    assert not has_left({})
