"""A request that ended without an answer, in the server's own words wherever they can be had."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import KW_ONLY, dataclass
from typing import Any

_BUSY = {429, 503}


@dataclass(eq=False)
class ChatError(Exception):
    """What went wrong.

    Attributes:
        code: one word to branch on: the server's, or "unreachable", "connection_lost", "timeout", "stream_broken",
            "bad_answer", an AWS error code, or "http_STATUS".
        message: one sentence.
        status: the server's HTTP status, where there was one; behind SageMaker the container's own, not 424.
        retryable: whether the same request may succeed later and has not been answered by this one.
        retry_after_s: how long the server asks to wait.
        field: the parameter at fault.
        request_id: the server's, to find it in the log.
    """

    code: str
    message: str
    _: KW_ONLY
    status: int | None = None
    retryable: bool = False
    retry_after_s: float | None = None
    field: str | None = None
    request_id: str = ""

    def __str__(self) -> str:
        return f"{self.code}: {self.message}"


def from_answer(status: int, body: bytes | str) -> ChatError:
    """The error in an answer that is no success; one that the server did not write keeps its status and text."""
    try:
        detail = json.loads(body)["error"]
        return from_detail(detail, status)
    except (ValueError, KeyError, TypeError):
        text = body.decode(errors="replace") if isinstance(body, bytes) else body
        return ChatError(f"http_{status}", text.strip()[:500] or "no body", status=status, retryable=status in _BUSY)


def from_detail(detail: Mapping[str, Any], status: int | None = None) -> ChatError:
    """The error in {"code", "message", "retryable", ...}. Raises KeyError or TypeError for another object."""
    return ChatError(
        str(detail["code"]),
        str(detail["message"]),
        status=status,
        retryable=bool(detail.get("retryable", False)),
        retry_after_s=detail.get("retry_after"),
        field=detail.get("field"),
        request_id=str(detail.get("request_id", "")),
    )
