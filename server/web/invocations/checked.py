"""A question checked as far as it can be without a look at the conversation."""

from __future__ import annotations

from typing import Any

from server.chat.services import Services
from server.chat.text.visible import is_blank
from server.web.invocations.parameters import check_window
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
