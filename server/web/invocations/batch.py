"""A list of inputs: turns side by side, each with its own outcome."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from functools import partial

import msgspec

from server.chat.records.turn_records import TurnRequest, TurnResult
from server.errors import ErrorCode, ServiceError
from server.web.call.errors import error_body, unexpected_error
from server.web.call.exchange import Exchange
from server.web.call.front import Front
from server.web.invocations.schema import Answer, FailedInput, invocation_body

log = logging.getLogger(__name__)


def answer_all(front: Front, exchange: Exchange, requests: Sequence[TurnRequest]) -> list[Answer | FailedInput]:
    """One outcome an input, in order; the deadline counts for all of them together.

    Raises:
        ServiceError: the first failure, when every input failed.
    """
    outcomes = _outcomes(front, exchange, requests)
    failures = [each for each in outcomes if isinstance(each, ServiceError)]
    if len(failures) == len(outcomes):
        raise failures[0]
    return [_entry(exchange, outcome) for outcome in outcomes]


def answer_each(front: Front, exchange: Exchange, requests: Sequence[TurnRequest]) -> list[Answer | FailedInput]:
    """The same where a failure of all is no failure of the call."""
    return [_entry(exchange, outcome) for outcome in _outcomes(front, exchange, requests)]


def _outcomes(front: Front, exchange: Exchange, requests: Sequence[TurnRequest]) -> list[TurnResult | ServiceError]:
    exchange.reserve(requests)
    futures = front.lists.submit([partial(_outcome, front, exchange, request) for request in requests])
    return [future.result() for future in futures]


def _outcome(front: Front, exchange: Exchange, request: TurnRequest) -> TurnResult | ServiceError:
    left_s = request.deadline_s - exchange.elapsed_s
    if left_s <= 0:
        return ServiceError(ErrorCode.DEADLINE, "the deadline passed before this input's turn came")
    try:
        return front.services.turns.answer(
            msgspec.structs.replace(request, deadline_s=left_s), exchange.client_has_left
        )
    except ServiceError as error:
        return error
    except Exception:
        log.exception("input.failed id=%s", request.request_id)
        return unexpected_error()


def _entry(exchange: Exchange, outcome: TurnResult | ServiceError) -> Answer | FailedInput:
    if isinstance(outcome, ServiceError):
        return FailedInput(error_body(outcome, exchange.request_id).error)
    exchange.note_result(outcome)
    return invocation_body(outcome, exchange.request_id)
