"""A retry is not a second turn: what a client's idempotency key stands for."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from flask import Request

from server.web.limits.table import LEAST_KEY_CHARS, MAX_KEY_CHARS
from server.web.reading.struct_reader import invalid

HEADER = "Idempotency-Key"
INFERENCE_ID_HEADER = "X-Amzn-SageMaker-Inference-Id"


@dataclass(frozen=True)
class IdempotencyKey:
    """The digest that is stored with the turn, and the session of a first question; "" and None without a key."""

    digest: str = ""
    new_session_id: str | None = None


def idempotency_key(request: Request, text: str) -> IdempotencyKey:
    """What the request's headers say. SageMaker passes on its own header alone, which clients may use for other things:
    there it is the same turn only when the question is the same, too, and a first question is never recognised.

    Raises:
        ServiceError: a key that could be anybody's: it must not be guessed, since it finds a conversation.
    """
    given = request.headers.get(HEADER)
    if given is not None:
        if not LEAST_KEY_CHARS <= len(given) <= MAX_KEY_CHARS or not given.isascii() or not given.isprintable():
            rule = (
                f"must be {LEAST_KEY_CHARS} to {MAX_KEY_CHARS} printable ASCII characters, found {len(given)}, and "
                "hard to guess: a UUID"
            )
            raise invalid(HEADER, given[:40], rule)
        digest = _digest(given)
        return IdempotencyKey(digest, f"once-{digest}")
    inference_id = request.headers.get(INFERENCE_ID_HEADER)
    return IdempotencyKey(_digest(f"{inference_id}\0{text}")) if inference_id else IdempotencyKey()


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:32]
