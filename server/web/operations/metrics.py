"""GET /metrics, for Prometheus and for SageMaker's detailed observability."""

from __future__ import annotations

from flask import Blueprint, Response
from prometheus_client import CONTENT_TYPE_LATEST

from server.web.call.front import Front
from server.web.describe.operation import TEXT, Operation

OPERATIONS = (Operation("get", "/metrics", "Prometheus metrics.", gives={"text/plain": [TEXT]}),)


def blueprint(front: Front) -> Blueprint:
    """The route over `front`."""
    routes = Blueprint("metrics", __name__)

    @routes.get("/metrics")
    def metrics() -> Response:
        return Response(front.metrics.exposition(), content_type=CONTENT_TYPE_LATEST)

    return routes
