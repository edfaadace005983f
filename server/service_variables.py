"""The environment variables that Kubernetes and Docker links make of a service's name, beside our settings.

A Service called `ock` puts OCK_SERVICE_HOST, OCK_PORT=tcp://10.0.0.1:8080 and OCK_PORT_8080_TCP_ADDR into every pod of
its namespace, one called `ock-chat` OCK_CHAT_SERVICE_HOST and so on
(https://kubernetes.io/docs/concepts/services-networking/service/#environment-variables).
"""

from __future__ import annotations

import re
from collections.abc import Mapping

_NAME = re.compile(r"[A-Z0-9_]+_(SERVICE_HOST|SERVICE_PORT(_\w+)?|PORT_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)")
_ADDRESS = re.compile(r"(tcp|udp|sctp)://\S+")


def is_service_variable(name: str, value: str) -> bool:
    """Whether the variable describes a service; a port is one only where its value is an address."""
    if _NAME.fullmatch(name):
        return True
    return name.endswith("_PORT") and _ADDRESS.fullmatch(value) is not None


def without_service_variables(environ: Mapping[str, str], prefix: str) -> tuple[dict[str, str], list[str]]:
    """`environ` without those that begin with `prefix`, and the names of what was left out."""
    left_out = [name for name, value in environ.items() if name.startswith(prefix) and is_service_variable(name, value)]
    return {name: value for name, value in environ.items() if name not in left_out}, sorted(left_out)
