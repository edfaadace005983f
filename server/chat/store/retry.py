"""Asking AWS again after a fault that may pass, a bounded number of times, at random intervals."""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Callable
from typing import TypeVar

from botocore.exceptions import BotoCoreError, ClientError, ConnectionError, HTTPClientError
from botocore.parsers import ResponseParserError

from server.errors import ErrorCode, ServiceError

log = logging.getLogger(__name__)

T = TypeVar("T")
RETRY_AFTER_S = 2.0
_PASSING_CODES = frozenset(
    {
        "InternalServerError",
        "LimitExceededException",
        "ProvisionedThroughputExceededException",
        "RequestLimitExceeded",
        "RequestTimeout",
        "RequestTimeoutException",
        "ServiceUnavailable",
        "ThrottlingException",
        "Throttling",
    }
)


class PartlyDone(BotoCoreError):
    """A batch of which AWS left some for later; asking again for the rest is right."""

    fmt = "{count} requests of a batch were left unprocessed"


FAULTS = (ClientError, BotoCoreError, ResponseParserError)
# A connection refused or reset, an answer too slow or cut off, or a batch done in part.
_PASSING_FAULTS = (HTTPClientError, ConnectionError, ResponseParserError, PartlyDone)


class Retrying:
    """Runs AWS calls; the n-th wait is a random part of `first_wait_s` * 2^n, at most `longest_wait_s`.

    After `budget_s` seconds no further attempt begins: whoever waits has a deadline.
    """

    def __init__(
        self,
        attempts: int = 5,
        first_wait_s: float = 0.05,
        longest_wait_s: float = 1.0,
        budget_s: float = 6.0,
        sleep: Callable[[float], None] = time.sleep,
        rng: random.Random | None = None,
    ) -> None:
        self._attempts = attempts
        self._first_wait_s = first_wait_s
        self._longest_wait_s = longest_wait_s
        self._budget_s = budget_s
        self._sleep = sleep
        self._rng = rng or random.Random()

    def call(self, request: Callable[[], T]) -> T:
        """The result of `request`.

        Raises:
            ClientError: AWS refused it for a reason that asking again does not change.
            ServiceError: STORE_UNAVAILABLE, when no attempt got through or the client cannot ask at all.
        """
        attempt, give_up = 0, time.monotonic() + self._budget_s
        while True:
            attempt += 1
            try:
                return request()
            except FAULTS as error:
                if isinstance(error, ClientError) and not _may_pass(error):
                    raise
                if attempt == self._attempts or not _may_pass(error) or time.monotonic() > give_up:
                    raise _unavailable(error) from error
                log.warning("store.retry attempt=%d error=%s", attempt, error)
            self._sleep(self._rng.uniform(0, min(self._longest_wait_s, self._first_wait_s * 2**attempt)))


def error_code(error: ClientError) -> str:
    """AWS's word for what went wrong."""
    return str(error.response.get("Error", {}).get("Code", ""))


def _may_pass(error: Exception) -> bool:
    if not isinstance(error, ClientError):
        return isinstance(error, _PASSING_FAULTS)
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    return error_code(error) in _PASSING_CODES or status >= 500


def _unavailable(error: Exception) -> ServiceError:
    log.error("store.unavailable error=%s", error)
    return ServiceError(
        ErrorCode.STORE_UNAVAILABLE,
        f"the conversation store cannot be reached ({type(error).__name__})",
        retry_after_s=RETRY_AFTER_S,
    )
