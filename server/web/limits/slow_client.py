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
