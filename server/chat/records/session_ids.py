"""The names of conversations: made unguessable here, or brought by the client in a known alphabet."""

from __future__ import annotations

import re
import secrets

from server.errors import ErrorCode, ServiceError

MAX_CHARS = 128
LEGAL = f"1 to {MAX_CHARS} of the characters A-Z a-z 0-9 . _ - with a letter or digit first"
_LEGAL = re.compile(rf"[A-Za-z0-9][A-Za-z0-9._-]{{0,{MAX_CHARS - 1}}}", re.ASCII)
_RESERVED = frozenset({"NEW_SESSION"})  # SageMaker's word for "make me one": sharing it would mix conversations up


def new_session_id() -> str:
    """128 random bits as 32 hexadecimal digits; SageMaker takes it as a sticky session's id, too."""
    return secrets.token_hex(16)


def check_session_id(text: object, field: str = "parameters.session_id") -> str:
    """`text`, if it may name a session.

    Raises:
        ServiceError: INVALID_FIELD with what is legal.
    """
    if not isinstance(text, str) or not _LEGAL.fullmatch(text):
        found = repr(text) if len(repr(text)) <= MAX_CHARS else f"{repr(text)[:MAX_CHARS]}..."
        raise ServiceError(ErrorCode.INVALID_FIELD, f"{field}={found}: a session id is {LEGAL}", field=field)
    if text in _RESERVED:
        raise ServiceError(ErrorCode.INVALID_FIELD, f"{field}={text!r} is reserved; name another", field=field)
    return text
