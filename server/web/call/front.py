"""What every route is given."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import cast

from flask import Blueprint, g

from server.chat.services import Services
from server.web.call.exchange import Exchange
from server.web.call.metrics import Metrics
from server.web.limits.concurrency import ConcurrencyLimit
from server.web.limits.drain import Drain


@dataclass(frozen=True)
class Front:
    """The services and this front's own parts. `executor` runs the inputs of a list."""

    services: Services
    concurrency: ConcurrencyLimit
    drain: Drain
    metrics: Metrics
    executor: ThreadPoolExecutor


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
