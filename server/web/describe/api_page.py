"""The routes as a document: `python -m server.web.api_page > docs/api.md`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from server.web.describe.document import openapi_document
from server.web.describe.operation import Operation

_HEAD = """# API

Every route, from the description that `GET /openapi.json` gives whole: fields, types and limits stand there, and every
answer is checked against it in the tests. Made by `python -m server.web.api_page`; a test compares them.

| route | what it does | takes | gives | refuses with |
|---|---|---|---|---|
"""


def document(operations: Sequence[Operation]) -> str:
    """The whole page; the page's own files are one line."""
    paths: dict[str, dict[str, Any]] = openapi_document("openchatkit", operations)["paths"]
    rows = [
        _row(method, path, described)
        for path, methods in paths.items()
        for method, described in methods.items()
        if path == "/" or described["summary"] != "The chat page."
    ]
    return _HEAD + "".join(rows)


def _row(method: str, path: str, described: dict[str, Any]) -> str:
    answers = described["responses"]
    refused = ", ".join(status for status in answers if status != "200")
    given = ", ".join(f"`{media}`" for media in answers["200"].get("content", {}))
    body = described.get("requestBody", {}).get("content", {}).get("application/json", {}).get("schema", {})
    cells = (f"`{method.upper()} {path}`", described["summary"], _names(body), given, refused)
    return "| " + " | ".join(cells) + " |\n"


def _names(schema: dict[str, Any]) -> str:
    kinds = schema.get("anyOf", [schema] if schema else [])
    return ", ".join(f"`{each['$ref'].rpartition('/')[2]}`" for each in kinds if "$ref" in each)
