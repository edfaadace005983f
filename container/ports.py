"""Free TCP ports."""

from __future__ import annotations

import socket


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


def can_listen(host: str, port: int) -> bool:
    """Whether this process could listen on `host`:`port` now."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
    return True


def _candidates(safe_range: str) -> range | tuple[int]:
    if not safe_range:
        return (0,)  # the kernel chooses
    first, _, last = safe_range.partition("-")
    if not (first.isdigit() and last.isdigit()) or not 0 < int(first) <= int(last) < 65536:
        raise PortError(f"SAGEMAKER_SAFE_PORT_RANGE={safe_range!r}: legal is first-last, two port numbers")
    return range(int(first), int(last) + 1)
