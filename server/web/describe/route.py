"""GET /openapi.json."""

from __future__ import annotations

import msgspec
from flask import Blueprint, Response

from server.config import Settings
from server.web.describe.document import openapi_document
from server.web.reading.body import JSON


def blueprint(settings: Settings) -> Blueprint:
    """The route; the document is made once."""
    routes = Blueprint("openapi", __name__)
    document = msgspec.json.encode(openapi_document(settings.model_name))

    @routes.get("/openapi.json")
    def openapi() -> Response:
        return Response(document, content_type=JSON)

    return routes
