"""How long a thread waits for a client that neither sends its body nor reads its answer."""

from __future__ import annotations

import socket
from collections.abc import Mapping

from server.web.limits import table


def limit_waiting(environ: Mapping[str, object]) -> None:
    """Give the call's socket a time limit, where the server shows it; a timeout then ends the call as a disconnect."""
    connection = environ.get("gunicorn.socket")
    if isinstance(connection, socket.socket):
        connection.settimeout(table.LONGEST_WAIT_S)


def has_left(environ: Mapping[str, object]) -> bool:
    """Whether the client has closed its side, where the server shows the socket; what it may have sent stays there."""
    connection = environ.get("gunicorn.socket")
    if not isinstance(connection, socket.socket):
        return False
    try:
        return connection.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT) == b""
    except (BlockingIOError, InterruptedError):
        return False  # nothing to read: it is there and waits
    except ValueError:
        return False  # TLS shows nothing of what comes
    except OSError:
        return True
