"""Which session ids a client may choose."""

from __future__ import annotations

import re

from server.web.struct_reader import invalid

PATTERN = r"^[A-Za-z0-9][A-Za-z0-9_.:-]{0,127}$"
RULE = "1 to 128 letters, digits and _ . : - are legal, the first a letter or digit"

_LEGAL = re.compile(PATTERN.rstrip("$"))


def legal_session_id(given: str, field: str) -> str:
    """`given`. Raises ServiceError INVALID_FIELD when it is no session id."""
    if not _LEGAL.fullmatch(given):
        raise invalid(field, given, RULE)
    return given
