"""What every route is given."""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

from flask import Blueprint, g

from server.chat.services import Services
from server.web.call.exchange import Exchange
from server.web.call.metrics import Metrics
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


def current_exchange() -> Exchange:
    """The call that this thread answers."""
    return cast(Exchange, g.exchange)


def work_blueprint(name: str, front: Front, *, is_side: bool = False) -> Blueprint:
    """A blueprint whose requests take a place before their body is read; of a side route, one of a few."""
    blueprint = Blueprint(name, __name__)

    @blueprint.before_request
    def admit() -> None:
        current_exchange().ticket = front.concurrency.enter(side_route=name if is_side else "")

    return blueprint
