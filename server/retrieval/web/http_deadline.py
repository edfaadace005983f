"""HTTP connections that end at a moment, however slowly the other side's bytes come.

A socket's own time limit is one of every single read: a server that sends a byte now and then is never too slow for it.
"""

from __future__ import annotations

import socket
import time
from functools import partial

import urllib3
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.response import HTTPResponse

from server.cut_off import cut_off


def cut_off_pool(max_connections: int) -> urllib3.PoolManager:
    """Connections of which each is cut when the answer's head takes longer than the request's time limit."""
    pool = urllib3.PoolManager(num_pools=1, maxsize=max_connections, retries=False)
    pool.pool_classes_by_scheme = {"http": _Pool, "https": _TlsPool}
    return pool


class _CutOff(HTTPConnection):
    def getresponse(self) -> HTTPResponse:  # type: ignore[override]  # as urllib3's own
        """The answer's head; urllib3 has set `timeout` to what is left of the request's time."""
        left_s = self.timeout
        if self.sock is None or not isinstance(left_s, int | float):
            return super().getresponse()
        with cut_off(time.monotonic() + left_s, partial(self.sock.shutdown, socket.SHUT_RD)):
            return super().getresponse()


class _TlsCutOff(_CutOff, HTTPSConnection):
    pass


class _Pool(HTTPConnectionPool):
    ConnectionCls = _CutOff


class _TlsPool(HTTPSConnectionPool):
    ConnectionCls = _TlsCutOff
