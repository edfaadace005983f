"""GET /v1/models: the one model that is served."""

from __future__ import annotations

import time

from flask import Blueprint, Response, request

from server.web.call.front import Front
from server.web.describe.operation import JSON, TEXT, Operation, in_path
from server.web.openai.request import check_model
from server.web.openai.response import Model, ModelList
from server.web.reading.body import json_response

OPERATIONS = (
    Operation("get", "/v1/models", "The model that is served.", gives={JSON: [ModelList]}, errors=(401,)),
    Operation(
        "get", "/v1/models/{model}", "The model, if it is served.",
        gives={JSON: [Model]}, parameters=[in_path("model", TEXT, "The model's name.")], errors=(401, 404),
    ),
)  # fmt: skip


def blueprint(front: Front) -> Blueprint:
    """The routes over `front`."""
    routes = Blueprint("models", __name__)
    started = int(time.time())
    name = front.services.settings.model_name

    def model() -> Model:
        return Model(name, "model", started, owned_by="openchatkit", max_model_len=front.services.max_context_tokens)

    @routes.before_request
    def check_key() -> None:  # by asking for the models clients find out whether their key is good
        if request.method != "OPTIONS":
            front.doorkeeper.caller(request.headers)

    @routes.get("/v1/models")
    def models() -> Response:
        return json_response(ModelList("list", (model(),)))

    @routes.get("/v1/models/<path:asked>")
    def one_model(asked: str) -> Response:
        check_model(asked, name)
        return json_response(model())

    return routes
