"""The names under which a server on loopback is asked: a page must not reach it under a name of its own.

A page of another site can have its name point to 127.0.0.1 (DNS rebinding), and the browser then takes this server's
answers for that site's. Such a request still says the name that it asks for.
"""

from __future__ import annotations

import ipaddress
from urllib.parse import urlsplit

from server.config import Settings
from server.errors import ErrorCode, ServiceError

ANY = "*"
_LOOPBACK = "localhost"


class KnownHosts:
    """The legal names, where there is a rule: on loopback always, elsewhere if OCK_ALLOWED_HOSTS names some."""

    def __init__(self, settings: Settings) -> None:
        named = {each.strip().lower() for each in settings.allowed_hosts.split(",") if each.strip()}
        self._has_rule = ANY not in named and bool(named or _is_loopback(settings.host))
        self._names = named | {_LOOPBACK}

    def check(self, host: str | None) -> None:
        """Refuse a request to another name than ours; an address is nobody's name. `host`: the header, or None.

        Raises:
            ServiceError: FORBIDDEN.
        """
        if not self._has_rule or host is None:
            return
        name = _name_of(host)
        if name in self._names or name.endswith(f".{_LOOPBACK}") or _is_address(name):
            return
        legal = ", ".join(sorted(self._names))
        message = (
            f"Host {name[:100]!r} is none of this server's names: {legal}, or an address; OCK_ALLOWED_HOSTS adds some"
        )
        raise ServiceError(ErrorCode.FORBIDDEN, message, field="Host")


def _name_of(host: str) -> str:
    """The name without its port and brackets; what cannot be read is a name that nobody has."""
    try:
        return (urlsplit(f"//{host}").hostname or "").rstrip(".")
    except ValueError:
        return ""


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _is_loopback(host: str) -> bool:
    return host.lower() == _LOOPBACK or (_is_address(host) and ipaddress.ip_address(host).is_loopback)
