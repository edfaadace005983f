"""What one key has taken of what it may take, over all its calls."""

from __future__ import annotations

import threading
from collections.abc import Callable

from server.errors import ErrorCode, ServiceError
from server.web.keys.key_file import ApiKey
from server.web.keys.token_bucket import TokenBucket, whole_seconds
from server.web.limits.table import RETRY_AFTER_S


class Share:
    """One key's rates and places. Thread-safe."""

    def __init__(self, key: ApiKey, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._inside = 0
        self._key = key
        self._requests, self._tokens = self._bucket(key.requests_per_minute), self._bucket(key.tokens_per_minute)

    def adopt(self, key: ApiKey) -> None:
        """Go on with what the file says now; a rate that stays the same goes on as it was."""
        with self._lock:
            self._requests = self._changed(self._requests, key.requests_per_minute)
            self._tokens = self._changed(self._tokens, key.tokens_per_minute)
            self._key = key

    def enter(self) -> None:
        """Begin a call. Raises ServiceError RATE_LIMITED."""
        with self._lock:
            most = self._key.concurrent
            if most is not None and self._inside >= most:
                raise self._refusal(f"{self._inside} requests are at work, of {most} at once", RETRY_AFTER_S)
            self._take(self._requests, 1, "requests")
            self._inside += 1

    def leave(self) -> None:
        """A call is over."""
        with self._lock:
            self._inside -= 1
            assert self._inside >= 0, self._inside

    def reserve(self, num_tokens: int) -> int:
        """Set tokens aside for a call that has not begun. How many: never more than the key gets in a minute.

        Raises:
            ServiceError: RATE_LIMITED.
        """
        with self._lock:
            if self._tokens is None:
                return num_tokens
            self._take(self._tokens, num_tokens, "tokens")
            return int(min(num_tokens, self._tokens.per_minute))

    def settle(self, num_reserved: int, num_used: int) -> None:
        """What a reservation came to: the rest of it is given back, what was used beyond it is taken after all."""
        with self._lock:
            if self._tokens is not None:
                self._tokens.give_back(num_reserved - num_used)

    def _take(self, bucket: TokenBucket | None, amount: int, unit: str) -> None:
        wait_s = 0.0 if bucket is None else bucket.take(amount)
        if bucket is not None and wait_s:
            asked = "" if amount == 1 else f"; this request asks for {amount}"
            raise self._refusal(f"{bucket.per_minute:g} {unit} a minute are its share{asked}", wait_s)

    def _refusal(self, why: str, wait_s: float) -> ServiceError:
        message = f"the key {self._key.name!r} has reached its limit: {why}"
        return ServiceError(ErrorCode.RATE_LIMITED, message, retry_after_s=whole_seconds(wait_s))

    def _bucket(self, per_minute: float | None) -> TokenBucket | None:
        return None if per_minute is None else TokenBucket(per_minute, self._clock)

    def _changed(self, before: TokenBucket | None, per_minute: float | None) -> TokenBucket | None:
        if before is not None and before.per_minute == per_minute:
            return before
        bucket = self._bucket(per_minute)
        if bucket is not None and before is not None:
            bucket.drain(before)
        return bucket
