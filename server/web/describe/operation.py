"""One route as /openapi.json describes it. Each route's file holds its own, beside the handler."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

JSON = "application/json"
REFUSED = (400, 413, 415, 429, 503)  # what every route that reads a body may answer
TEXT = {"type": "string"}
# A server-sent event as a reader of such streams gives it: its name, "message" where it has none, and its data, which
# is one of the types beside this one as JSON text.
EVENT = {
    "type": "object",
    "required": ["event", "data"],
    "properties": {"event": {"type": "string"}, "data": {"type": "string"}},
}


@dataclass(frozen=True)
class Operation:
    """One method of one path. Several types stand for any one of them; a dict is a schema of its own."""

    method: str
    path: str
    summary: str
    gives: dict[str, Sequence[Any]] = field(default_factory=dict)  # media type: what it may hold
    takes: Sequence[Any] = ()
    parameters: Sequence[dict[str, Any]] = ()
    headers: Sequence[str] = ()
    errors: Sequence[int] = ()
    also: dict[int, Any] = field(default_factory=dict)  # other statuses with a body of their own
    idle_fields: dict[str, Mapping[str, Sequence[Any]]] = field(default_factory=dict)  # struct: field: its idle values


def in_query(name: str, schema: Any, description: str) -> dict[str, Any]:
    """A parameter of the query string."""
    return {"name": name, "in": "query", "required": False, "schema": schema, "description": description}


def in_header(name: str, schema: Any, description: str) -> dict[str, Any]:
    """A parameter in a header."""
    return {**in_query(name, schema, description), "in": "header"}


def in_path(name: str, schema: Any, description: str) -> dict[str, Any]:
    """A part of the path."""
    return {**in_query(name, schema, description), "in": "path", "required": True}
