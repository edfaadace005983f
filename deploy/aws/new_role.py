"""A role that has just been made: IAM takes some seconds until every service may take it on."""

from __future__ import annotations

import time
from collections.abc import Callable

from deploy.aws.api import Answer, Aws, Call, RefusedError, Say

_PAUSE_S = 5.0
_TRIES = 13  # a minute; IAM's own documentation speaks of seconds
_SIGNS = ("assume role", "sts:assumerole", "not authorized to perform: sts")


def send_once_assumable(
    aws: Aws, call: Call, say: Say, assumed: Answer | None = None, sleep: Callable[[float], None] = time.sleep
) -> Answer:
    """The answer to `call`, which names a role; repeated while the service says that it cannot take the role on.

    Raises:
        RefusedError: refused for another reason, or the service still cannot after a minute.
    """
    for left in range(_TRIES - 1, -1, -1):
        try:
            return aws.send(call, assumed)
        except RefusedError as error:
            if left == 0 or not _is_about_role(error):
                raise
            say(f"{call.operation}: the role is not known everywhere yet ({error.code}); trying again")
        sleep(_PAUSE_S)
    raise AssertionError("the last try returns or raises")


def _is_about_role(error: RefusedError) -> bool:
    return any(sign in error.message.lower() for sign in _SIGNS)
