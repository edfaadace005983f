"""GET /ping: whether this container can answer, from cached state alone."""

from __future__ import annotations

import msgspec
from flask import Blueprint, Response, request

from server.engine.engine import Engine
from server.errors import ErrorCode, ServiceError
from server.web.call.errors import ErrorBody, error_body
from server.web.call.front import Front, asked_port, current_exchange
from server.web.describe.operation import JSON, Operation, in_query
from server.web.reading.body import json_response


class GroupState(msgspec.Struct, frozen=True):
    """The engine group, as its last report says."""

    ready: bool
    world: int | None
    dtype: str | None
    models: dict[str, str]  # role: folder
    max_context_tokens: int | None
    status_age_s: float | None
    num_running: int | None
    num_waiting: int | None


class PingDetail(msgspec.Struct, frozen=True):
    """What GET /ping?detail=1 says."""

    status: str  # ready | starting | stale | rank silent | store failing | draining
    engine: GroupState  # all groups together
    groups: list[GroupState]  # each by itself
    moderation: str  # on | off
    policy: str | None  # name and version
    index: str | None  # version
    admitted: int
    admission_limit: int


OPERATIONS = (
    Operation(
        "get", "/ping", "Whether this container can answer; 200 after a forward pass ran on every rank.",
        gives={"text/plain": [{"const": ""}], JSON: [PingDetail]},
        parameters=[in_query("detail", {"type": "string"}, "Anything but empty: say more, as JSON.")],
        errors=(401, 403), also={503: [ErrorBody, PingDetail]},
    ),
    Operation(
        "get", "/health", "The same for load balancers and clients that ask for this name.",
        gives={"text/plain": [{"const": ""}]}, also={503: [ErrorBody]},
    ),
)  # fmt: skip


def blueprint(front: Front) -> Blueprint:
    """The route over `front`."""
    routes = Blueprint("ping", __name__)

    @routes.get("/ping")
    def ping() -> Response:
        state = _state(front)
        if request.args.get("detail"):
            front.doorkeeper.operator(request.headers, asked_port())
            return json_response(_detail(front, state), 200 if state == "ready" else 503)
        return _health(state)

    @routes.get("/health")
    def health() -> Response:
        return _health(_state(front))

    return routes


def _health(state: str) -> Response:
    if state == "ready":
        return Response(status=200, content_type="text/plain")
    exchange = current_exchange()
    exchange.code = ErrorCode.ENGINE_UNAVAILABLE.value
    error = ServiceError(ErrorCode.ENGINE_UNAVAILABLE, f"not serving: {state}")
    return json_response(error_body(error, exchange.request_id), 503)


def _state(front: Front) -> str:
    if front.concurrency.closed:
        return "draining"
    watch = front.services.store_watch
    if watch is not None and watch.is_failing:
        return "store failing"
    states = [_group_state(front, number) for number in range(len(front.services.engine.groups))]
    return "ready" if "ready" in states else states[0]


def _group_state(front: Front, number: int) -> str:
    """A group reports about twice a second, but only between steps, each of which may take its time."""
    engine, signs = front.services.engine.groups[number], front.services.signs_of_life
    if not engine.ready or engine.status is None:
        return "starting"
    if number < len(signs) and signs[number].silent_ranks:
        return "rank silent"
    return "ready" if engine.status_age_s < front.services.settings.step_timeout_s else "stale"


def _detail(front: Front, state: str) -> PingDetail:
    services = front.services
    policy, retriever = services.policy, services.retriever
    return PingDetail(
        status=state,
        engine=_group(front, services.engine),
        groups=[_group(front, engine) for engine in services.engine.groups],
        moderation="off" if services.moderator is None else "on",
        policy=None if policy is None else f"{policy.name} {policy.version}",
        index=None if retriever is None else retriever.version,
        admitted=front.concurrency.num_inside,
        admission_limit=front.concurrency.limit,
    )


def _group(front: Front, engine: Engine) -> GroupState:
    welcome, status = engine.welcome, engine.status
    return GroupState(
        ready=engine.ready,
        world=None if welcome is None else welcome.world,
        dtype=None if welcome is None else welcome.dtype,
        models={} if welcome is None else {role: shape.folder for role, shape in welcome.models.items()},
        max_context_tokens=front.services.max_context_tokens,
        status_age_s=None if status is None else round(engine.status_age_s, 3),
        num_running=None if status is None else status.num_running,
        num_waiting=None if status is None else status.num_waiting,
    )
