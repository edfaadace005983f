"""From a validated request to what the chat layer is asked."""

from __future__ import annotations

from server.chat.records.turn_records import Turn, TurnRequest
from server.chat.services import Services
from server.web.invocations.parameters import Parameters, sampling


def turn_request(
    services: Services,
    turn_id: str,
    text: str,
    parameters: Parameters,
    *,
    session_id: str | None = None,
    streams: bool = False,
    history: tuple[Turn, ...] | None = None,
    system: str = "",
) -> TurnRequest:
    """One question, with the settings' defaults for what it does not say."""
    settings = services.settings
    return TurnRequest(
        request_id=turn_id,
        text=text,
        sampling=sampling(parameters, _default_new_tokens(services)),
        session_id=session_id,
        retrieval=not parameters.no_retrieval,
        deadline_s=settings.stream_deadline_s if streams else settings.request_deadline_s,
        history=history,
        system=system,
    )


def _default_new_tokens(services: Services) -> int:
    """The length of an answer when the request names none: the setting, at most half the window."""
    window, most = services.max_context_tokens, services.settings.max_new_tokens
    return most if window is None else min(most, window // 2)
