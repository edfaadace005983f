"""SageMaker's batch transform: JSON lines in, JSON lines out, in the same order."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
from flask import Response

from server.chat.records.turn_records import TurnRequest
from server.errors import ErrorCode, ServiceError
from server.web.call.errors import error_body
from server.web.call.front import Front, current_exchange
from server.web.invocations.batch import answer_each
from server.web.invocations.parameters import Parameters
from server.web.invocations.schema import Answer, FailedInput
from server.web.invocations.stream_format import JSON_LINES
from server.web.invocations.turn_request import checked_invocation, turn_request
from server.web.limits.table import MAX_INPUTS
from server.web.reading.json_reader import read_object
from server.web.reading.struct_reader import invalid

BATCH_STRATEGY = "MULTI_RECORD"


class ExecutionParameters(msgspec.Struct, frozen=True, rename="pascal"):
    """What SageMaker asks before a transform job; the names are its own."""

    max_concurrent_transforms: int
    batch_strategy: str
    max_payload_in_m_b: int = msgspec.field(name="MaxPayloadInMB")


def answer_lines(front: Front, lines: Sequence[bytes]) -> Response:
    """One line of answer for each line of question; a line that cannot be answered says why in its place.

    Raises:
        ServiceError: there is no line, or there are too many.
    """
    if not 1 <= len(lines) <= MAX_INPUTS:
        message = f"the body has {len(lines)} lines; legal are 1 to {MAX_INPUTS}"
        raise ServiceError(ErrorCode.INVALID_FIELD, message)
    asked = [_question(front, index, line) for index, line in enumerate(lines)]
    answers = iter(answer_each(front, current_exchange(), [each for each in asked if isinstance(each, TurnRequest)]))
    outcomes = [next(answers) if isinstance(each, TurnRequest) else each for each in asked]
    return Response(b"".join(map(_line, outcomes)), content_type=JSON_LINES)


def _question(front: Front, index: int, line: bytes) -> TurnRequest | FailedInput:
    exchange = current_exchange()
    try:
        invocation = checked_invocation(read_object(line), front.services)
        if not isinstance(invocation.inputs, str):
            raise invalid("inputs", invocation.inputs, "a line holds one question, as text")
        parameters = invocation.parameters or Parameters()
        return turn_request(
            front.services,
            exchange.turn_id(index),
            invocation.inputs,
            parameters=parameters,
            session_id=parameters.session_id,
        )
    except ServiceError as error:
        return FailedInput(error_body(error, exchange.request_id).error)


def _line(outcome: Answer | FailedInput) -> bytes:
    return msgspec.json.encode(outcome) + b"\n"
