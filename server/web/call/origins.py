"""Who may call from where: the names this server is asked under, and the pages that may show its answers."""

from __future__ import annotations

import ipaddress
from urllib.parse import urlsplit

from flask import Request, Response

from server.config import Settings
from server.errors import ErrorCode, ServiceError

ANY = "*"
_LOOPBACK = "localhost"
_METHODS = "GET, POST, DELETE, OPTIONS"
_READABLE = "X-Request-Id, Retry-After, X-Amzn-SageMaker-Custom-Attributes"
_REMEMBERED_S = "600"  # how long a browser need not ask again


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


class Origins:
    """The origins that may call."""

    def __init__(self, named: str) -> None:
        """`named`: origins joined by commas, `*`, or nothing."""
        self._named = {each.strip().rstrip("/") for each in named.split(",") if each.strip()}

    def allow(self, request: Request, response: Response) -> None:
        """Tell the browser that it may show `response` to the page that asked, where the page may."""
        origin = request.headers.get("Origin")
        if not self._named or origin is None:
            return
        response.headers.add("Vary", "Origin")
        if not self.allows(origin):
            return
        response.headers["Access-Control-Allow-Origin"] = ANY if ANY in self._named else origin
        response.headers["Access-Control-Expose-Headers"] = _READABLE
        if request.method == "OPTIONS":
            response.headers["Access-Control-Allow-Methods"] = _METHODS
            response.headers["Access-Control-Max-Age"] = _REMEMBERED_S
            asked = request.headers.get("Access-Control-Request-Headers", "Content-Type")
            response.headers["Access-Control-Allow-Headers"] = asked

    def allows(self, origin: str) -> bool:
        """Whether pages of `origin` may call."""
        return ANY in self._named or origin in self._named
