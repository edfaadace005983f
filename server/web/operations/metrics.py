"""GET /metrics, for Prometheus and for SageMaker's detailed observability."""

from __future__ import annotations

from flask import Blueprint, Response, request

from server.web.call.front import Front, asked_port
from server.web.describe.operation import TEXT, Operation

OPERATIONS = (
    Operation(
        "get", "/metrics", "Metrics for Prometheus, in OpenMetrics where Accept names it.",
        gives={"text/plain": [TEXT], "application/openmetrics-text": [TEXT]}, errors=(401, 403),
    ),
)  # fmt: skip


def blueprint(front: Front) -> Blueprint:
    """The route over `front`."""
    routes = Blueprint("metrics", __name__)
    is_open = front.services.settings.metrics == "open"

    @routes.get("/metrics")
    def metrics() -> Response:
        front.doorkeeper.check_port(asked_port())
        if not is_open:
            front.doorkeeper.operator(request.headers, asked_port())
        body, content_type = front.metrics.exposition(request.headers.get("Accept", ""))
        return Response(body, content_type=content_type)

    return routes
