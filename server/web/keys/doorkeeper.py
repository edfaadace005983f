"""Lets a call in by its key: where clients put one, and what they hear without."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from werkzeug.datastructures import Headers

from server.config import Settings
from server.errors import ErrorCode, ServiceError
from server.web.keys.key_ring import Holder, KeyRing
from server.web.keys.key_source import KeySource
from server.web.keys.share import Share

KEY_HEADER = "x-api-key"
ATTRIBUTES_HEADER = "X-Amzn-SageMaker-Custom-Attributes"  # the one header of a client's that SageMaker passes on
ATTRIBUTE = "api_key"
_HOW = (
    f"send it as `Authorization: Bearer KEY` or `{KEY_HEADER}: KEY`, through SageMaker as `{ATTRIBUTE}=KEY` in "
    f"{ATTRIBUTES_HEADER}"
)
_NO_OPERATOR = "only an operator's key may do this; this one has the role user"


@dataclass(frozen=True)
class Caller:
    """Who makes a call.

    Attributes:
        name: the key's; "" where the server asks for no keys.
        is_operator: whether what belongs to others may be seen. Where there are no keys nothing belongs to anybody.
        share: what the key may take; None without limit.
        turn_taker: as whom the engine's queue knows the caller; "" where nobody is to share with.
    """

    name: str = ""
    is_operator: bool = False
    share: Share | None = None
    turn_taker: str = ""


class Doorkeeper:
    """Knows the keys, or lets everybody in where there are none. `operator_port`: where alone operators are known."""

    def __init__(self, ring: KeyRing | None, operator_port: int | None = None) -> None:
        self._ring = ring
        self._operator_port = operator_port

    @classmethod
    def of(cls, settings: Settings) -> Doorkeeper:
        """As the settings name them. Raises ConfigError for a file that cannot be used."""
        path = settings.key_file
        if settings.api_keys_source and path is not None:
            KeySource(settings.api_keys_source, path).start()
        ring = None if path is None else KeyRing(path)
        return cls(ring, settings.operator_port)

    @property
    def asks_for_keys(self) -> bool:
        """Whether a call needs one."""
        return self._ring is not None

    def caller(self, headers: Headers, port: str = "") -> Caller:
        """Who calls, by which port. Raises ServiceError INVALID_API_KEY."""
        if self._ring is None:
            return Caller()
        given = list(_presented(headers))
        for secret in given:
            holder = self._ring.find(secret)
            if holder is not None:
                return self._caller(holder, port)
        what = "no key of this server" if given else "missing"
        raise ServiceError(ErrorCode.INVALID_API_KEY, f"the API key is {what}: {_HOW}")

    def check_port(self, port: str) -> None:
        """Refuse what belongs to operators where they have another port. Raises ServiceError FORBIDDEN."""
        if not self._is_operators(port):
            message = f"this is told on the operators' port alone, OCK_OPERATOR_PORT={self._operator_port}"
            raise ServiceError(ErrorCode.FORBIDDEN, message)

    def operator(self, headers: Headers, port: str = "") -> Caller:
        """Who calls by which port, if that is an operator; anybody where there are no keys.

        Raises:
            ServiceError: INVALID_API_KEY, FORBIDDEN.
        """
        self.check_port(port)
        caller = self.caller(headers, port)
        if self.asks_for_keys and not caller.is_operator:
            raise ServiceError(ErrorCode.FORBIDDEN, _NO_OPERATOR)
        return caller

    def reload(self) -> None:
        """Read the keys again."""
        if self._ring is not None:
            self._ring.reload()

    def _is_operators(self, port: str) -> bool:
        return self._operator_port is None or port == str(self._operator_port)

    def _caller(self, holder: Holder, port: str) -> Caller:
        assert self._ring is not None
        key = holder.key
        turn_taker = key.name if self._ring.has_several else ""
        is_operator = key.role == "operator" and self._is_operators(port)
        return Caller(key.name, is_operator, holder.share, turn_taker=turn_taker)


def _presented(headers: Headers) -> Iterator[str]:
    """Every key that a request shows: a gateway may put one of its own into the first of the headers."""
    if given := headers.get(KEY_HEADER, "").strip():
        yield given
    scheme, _, token = headers.get("Authorization", "").partition(" ")
    if scheme.lower() == "bearer" and token.strip():
        yield token.strip()
    for attribute in re.split("[;,]", headers.get(ATTRIBUTES_HEADER, "")):
        name, _, value = attribute.partition("=")
        if name.strip().lower() == ATTRIBUTE and value.strip():
            yield value.strip()
