"""When a failed request is sent again, and after how long."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import dataclass

from deploy.client.chat_error import ChatError
from deploy.client.transport import Transport


@dataclass(frozen=True)
class RetryPolicy:
    """At most `max_attempts` in all. The server's own wait counts; without one it doubles, with jitter.

    A wait that the server asks for beyond `longest_wait_s` ends the attempts: the caller learns of it at once.
    """

    max_attempts: int = 4
    first_wait_s: float = 0.5
    longest_wait_s: float = 30.0
    sleep: Callable[[float], None] = time.sleep

    def wait_s(self, error: ChatError, num_attempts: int) -> float | None:
        """Seconds before the next attempt after `num_attempts` have failed, the last with `error`; None: give up."""
        if not error.retryable or num_attempts >= self.max_attempts:
            return None
        doubled = self.first_wait_s * 2 ** (num_attempts - 1) * random.uniform(0.5, 1.0)
        wait = max(doubled, error.retry_after_s or 0.0)
        return wait if wait <= self.longest_wait_s else None


def post_with_retries(transport: Transport, body: bytes, policy: RetryPolicy) -> bytes:
    """The answer to `body`, after as many attempts as `policy` allows. Raises the last attempt's ChatError."""
    num_attempts = 0
    while True:
        try:
            return transport.post(body)
        except ChatError as error:
            num_attempts += 1
            wait_s = policy.wait_s(error, num_attempts)
            if wait_s is None:
                raise
            policy.sleep(wait_s)
