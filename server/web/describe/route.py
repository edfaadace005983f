"""GET /openapi.json."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
from flask import Blueprint, Response

from server.config import Settings
from server.web.describe.document import openapi_document
from server.web.describe.operation import Operation
from server.web.reading.body import JSON

OPERATIONS = (Operation("get", "/openapi.json", "This document.", gives={JSON: [{"type": "object"}]}),)


def blueprint(settings: Settings, others: Sequence[Operation]) -> Blueprint:
    """The route, over the operations of all `others`; the document is made once."""
    routes = Blueprint("openapi", __name__)
    document = msgspec.json.encode(openapi_document(settings.model_name, [*others, *OPERATIONS]))

    @routes.get("/openapi.json")
    def openapi() -> Response:
        return Response(document, content_type=JSON)

    return routes
