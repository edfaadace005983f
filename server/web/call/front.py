"""What every route is given."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import cast

from flask import Blueprint, Request, g, request

from server.chat.services import Services
from server.chat.store.store import Store
from server.errors import ErrorCode, ServiceError
from server.web.call.exchange import Exchange
from server.web.call.metrics import Metrics
from server.web.keys.doorkeeper import Doorkeeper
from server.web.limits.concurrency import ConcurrencyLimit
from server.web.limits.drain import Drain
from server.web.limits.list_pool import ListPool


@dataclass(frozen=True)
class Front:
    """The services and this front's own parts. `lists` runs the inputs of lists."""

    services: Services
    concurrency: ConcurrencyLimit
    drain: Drain
    metrics: Metrics
    lists: ListPool
    doorkeeper: Doorkeeper


def current_exchange() -> Exchange:
    """The call that this thread answers."""
    return cast(Exchange, g.exchange)


def asked_port() -> str:
    """The port that this call came to, whatever its Host says."""
    return str(request.environ.get("SERVER_PORT", ""))


def store_of(services: Services, owner: str | None = None) -> Store:
    """The conversations that this call may see: its key's own, or `owner`'s.

    Raises:
        ServiceError: FORBIDDEN for another's, where the key is no operator's.
    """
    return services.store.of(allowed_owner(owner))


def allowed_owner(owner: str | None) -> str:
    """Whose conversations this call is about: its key's own unless an operator names another owner.

    Raises:
        ServiceError: FORBIDDEN.
    """
    caller = current_exchange().caller
    if owner is None or owner == caller.name:
        return caller.name
    if not caller.is_operator:
        message = f"owner={owner!r}: only an operator's key may name another, on the operators' port where there is one"
        raise ServiceError(ErrorCode.FORBIDDEN, message, field="owner")
    return owner


def work_blueprint(
    name: str, front: Front, *, is_side: bool = False, needs_no_place: Callable[[Request], bool] = lambda _: False
) -> Blueprint:
    """A blueprint whose requests show their key, and then take a place, before their body is read; of a side route,
    one of a few. What `needs_no_place` is answered also where all are taken, and counts in nobody's share.
    """
    blueprint = Blueprint(name, __name__)

    @blueprint.before_request
    def admit() -> None:
        exchange = current_exchange()
        if request.method != "OPTIONS":  # by which a browser asks before it sends a key
            caller = front.doorkeeper.caller(request.headers, asked_port())
            if needs_no_place(request):
                exchange.caller = caller
                return
            exchange.enter(caller)
        side_route = name if is_side else ""
        exchange.ticket = front.concurrency.enter(exchange.caller.turn_taker, side_route=side_route)

    return blueprint
