"""From a request's fields to what the chat layer is asked, checked as far as it can be without the conversation."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from server.chat.records.turn_records import TurnRequest
from server.chat.services import Services
from server.chat.text.visible import is_blank
from server.web.call.front import current_exchange
from server.web.invocations.parameters import Parameters, check_window, sampling, search_wish, searches
from server.web.invocations.schema import Invocation
from server.web.reading.struct_reader import invalid, read_struct


def checked_invocation(data: dict[str, Any], services: Services) -> Invocation:
    """`data` as a question or a list of them. Raises ServiceError for whatever can be refused already."""
    invocation = read_struct(data, Invocation)
    texts = [invocation.inputs] if isinstance(invocation.inputs, str) else invocation.inputs
    for index, text in enumerate(texts):
        if is_blank(text):
            field = "inputs" if isinstance(invocation.inputs, str) else f"inputs[{index}]"
            raise invalid(field, text, "must hold visible text")
    if invocation.parameters is not None:
        check_window(invocation.parameters.max_new_tokens, services, "parameters.max_new_tokens")
    return invocation


def turn_request(
    services: Services,
    turn_id: str,
    text: str,
    parameters: Parameters,
    *,
    streams: bool = False,
    sampled: Mapping[str, Any] | None = None,
    **more: Any,
) -> TurnRequest:
    """One question, with the settings' defaults for what it does not say.

    `sampled` are further fields of its `wire.Sampling`, `more` further fields of the request.
    """
    settings, exchange = services.settings, current_exchange()
    wished = sampling(parameters, _default_new_tokens(services))
    asked = TurnRequest(
        request_id=turn_id,
        text=text,
        caller=exchange.turn_taker,
        owner=exchange.caller.name,
        sampling=msgspec.structs.replace(wished, **(sampled or {})),
        retrieval=searches(parameters),
        search=search_wish(parameters),
        cite=bool(parameters.cite),
        deadline_s=settings.stream_deadline_s if streams else settings.request_deadline_s,
        clamp=settings.long_replies == "clamp",
    )
    return msgspec.structs.replace(asked, **more)


def _default_new_tokens(services: Services) -> int:
    """The length of an answer when the request names none: the setting, at most half the window."""
    window, most = services.max_context_tokens, services.settings.max_new_tokens
    return most if window is None else min(most, window // 2)
