"""How long a thread waits for a client that does not read its answer, and whether it is still there."""

from __future__ import annotations

import select
import socket
from collections.abc import Mapping

from server.web.limits import table


def limit_waiting(environ: Mapping[str, object]) -> None:
    """Give the call's socket a time limit, where the server shows it; a timeout then ends the call as a disconnect."""
    connection = _socket(environ)
    if connection is not None:
        connection.settimeout(table.LONGEST_WAIT_S)


def has_left(environ: Mapping[str, object]) -> bool:
    """Whether the client has closed its side, where the server shows the socket; what it may have sent stays there."""
    connection = _socket(environ)
    if connection is None:
        return False
    try:
        # Asked first, since a socket with a time limit would be waited for whatever the flags of a read.
        waiting = select.poll()
        waiting.register(connection, select.POLLIN)
        if not waiting.poll(0):
            return False
        return connection.recv(1, socket.MSG_PEEK) == b""
    except ValueError:
        return False  # TLS shows nothing of what comes, and a closed socket is the server's own doing
    except OSError:
        return True


def _socket(environ: Mapping[str, object]) -> socket.socket | None:
    """The call's own, where the server shows it, bare or within what the answer is written to."""
    shown = environ.get("gunicorn.socket")
    found = getattr(shown, "sock", shown)
    return found if isinstance(found, socket.socket) else None
