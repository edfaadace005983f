"""Free TCP ports."""

from __future__ import annotations

import socket

_ANY_IPV4 = "0.0.0.0"  # noqa: S104 - the container contract


class PortError(RuntimeError):
    """No port can be had."""


def free_loopback_port(safe_range: str = "") -> int:
    """A port on 127.0.0.1 that nobody listens on; inside `safe_range` ("first-last") where one is given.

    Raises:
        PortError: the range is malformed or every port in it is taken.
    """
    for port in _candidates(safe_range):
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            found: int = probe.getsockname()[1]
            return found
    raise PortError(f"SAGEMAKER_SAFE_PORT_RANGE={safe_range!r}: every port in it is taken")


def hosts_to_listen_on(host: str) -> list[str]:
    """`host` itself; when it is empty every address of this machine, of whichever families it has."""
    if host:
        return [host]
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::", 0))
            serves_both = probe.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY) == 0
    except OSError:  # a kernel or a container without IPv6
        return [_ANY_IPV4]
    return ["::"] if serves_both else [_ANY_IPV4, "::"]


def listen_fault(host: str, port: int) -> str | None:
    """Why this process could not listen on `host`:`port` now, in the system's words; None when it could."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        with socket.socket(family) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((host, port))
    except OSError as error:
        return error.strerror or str(error)
    return None


def bind_address(host: str, port: int) -> str:
    """`host`:`port` in one text, as addresses are written; an IPv6 host stands in brackets."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _candidates(safe_range: str) -> range | tuple[int]:
    if not safe_range:
        return (0,)  # the kernel chooses
    first, _, last = safe_range.partition("-")
    if not (first.isdigit() and last.isdigit()) or not 0 < int(first) <= int(last) < 65536:
        raise PortError(f"SAGEMAKER_SAFE_PORT_RANGE={safe_range!r}: legal is first-last, two port numbers")
    return range(int(first), int(last) + 1)
