"""Requests made from /openapi.json, legal and not: no 5xx, no answer that the document does not describe.

API_FUZZ_CASES=400 makes so many of each route instead of a few.
"""

from __future__ import annotations

import os

import schemathesis
from hypothesis import HealthCheck, settings
from schemathesis.checks import CHECKS, load_all_checks

from server.config import Settings
from server.web.app import create_app
from tests.unit.web.fakes import Fakes

CASES = int(os.environ.get("API_FUZZ_CASES", "20"))

load_all_checks()

schema = schemathesis.openapi.from_wsgi("/openapi.json", create_app(Fakes(settings=Settings()).services))
# Not among them: that whatever fits the schema is accepted. A schema cannot say "not blank" or "no list in a stream".
checks = CHECKS.get_by_names(
    [
        "not_a_server_error",
        "status_code_conformance",
        "content_type_conformance",
        "response_headers_conformance",
        "response_schema_conformance",
        "negative_data_rejection",
        "unsupported_method",
    ]
)


@schema.parametrize()
@settings(max_examples=CASES, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
def test_every_answer_is_one_that_the_document_describes(case: schemathesis.Case) -> None:
    case.call_and_validate(checks=checks)


def test_the_fuzz_reaches_every_route() -> None:
    assert {operation.ok().label for operation in schema.get_all_operations()} >= {
        "POST /invocations",
        "POST /v1/chat/completions",
        "POST /v1/moderations",
        "POST /search",
        "GET /sessions/{session_id}",
        "DELETE /sessions/{session_id}",
        "GET /ping",
    }
