"""The OpenAPI 3.1 document: schemas from the structs that requests are read with and answers written from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

import msgspec

from server.web.call.errors import ErrorBody
from server.web.describe.operation import JSON, Operation
from server.web.keys.doorkeeper import KEY_HEADER

# Asked for where OCK_API_KEYS is set.
_KEYS = {"bearer": {"type": "http", "scheme": "bearer"}, "key": {"type": "apiKey", "in": "header", "name": KEY_HEADER}}
_REFERENCE = "#/components/schemas/{name}"


def openapi_document(title: str, table: Sequence[Operation]) -> dict[str, Any]:
    """The whole document."""
    types = _types(table)
    schemas, components = msgspec.json.schema_components(types, ref_template=_REFERENCE)
    schema_of = dict(zip(types, schemas, strict=True))
    for operation in table:
        for name, fields in operation.idle_fields.items():
            _add_idle_fields(components[name], fields)
    paths: dict[str, dict[str, Any]] = {}
    for operation in table:
        paths.setdefault(operation.path, {})[operation.method] = _described(operation, schema_of)
    return {
        "openapi": "3.1.0",
        "info": {"title": title, "version": "1.0.0", "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"}},
        "paths": paths,
        "components": {"schemas": components, "securitySchemes": _KEYS},
        "security": [{}, *({name: []} for name in _KEYS)],
    }


def _types(table: Sequence[Operation]) -> list[Any]:
    """Every struct and annotated type that the table names, once."""
    found: dict[Any, None] = {ErrorBody: None}
    for operation in table:
        held = [*operation.takes, *(each for some in operation.gives.values() for each in some)]
        held += [each for some in operation.also.values() for each in some]
        held += [parameter["schema"] for parameter in operation.parameters]
        for each in held:
            for kind in each.get("items", ()) if isinstance(each, dict) else (each,):
                found[kind] = None
    return list(found)


def _described(operation: Operation, schema_of: dict[Any, Any]) -> dict[str, Any]:
    described: dict[str, Any] = {"summary": operation.summary, "operationId": _operation_id(operation)}
    if operation.parameters:
        described["parameters"] = [
            {**parameter, "schema": _schema(parameter["schema"], schema_of)} for parameter in operation.parameters
        ]
    if operation.takes:
        described["requestBody"] = {
            "required": True,
            "content": {JSON: {"schema": _any_of(operation.takes, schema_of)}},
        }
    described["responses"] = _responses(operation, schema_of)
    return described


def _responses(operation: Operation, schema_of: dict[Any, Any]) -> dict[str, Any]:
    content = {media: {"schema": _any_of(kinds, schema_of)} for media, kinds in operation.gives.items()}
    ok: dict[str, Any] = {"description": "Success.", "content": content}
    if operation.headers:
        ok["headers"] = {name: {"schema": {"type": "string"}} for name in operation.headers}
    keyed = (401, 403) if HTTPStatus.TOO_MANY_REQUESTS in operation.errors else ()  # routes that do work
    others = dict.fromkeys((*operation.errors, *keyed), (ErrorBody,)) | operation.also
    refused = {
        str(status): {
            "description": f"{HTTPStatus(status).phrase}.",
            "content": {JSON: {"schema": _any_of(kinds, schema_of)}},
        }
        for status, kinds in sorted(others.items())
    }
    return {"200": ok, **refused}


def _any_of(kinds: Sequence[Any], schema_of: dict[Any, Any]) -> dict[str, Any]:
    schemas = [_schema(kind, schema_of) for kind in kinds]
    return schemas[0] if len(schemas) == 1 else {"anyOf": schemas}


def _schema(kind: Any, schema_of: dict[Any, Any]) -> dict[str, Any]:
    if not isinstance(kind, dict):
        return dict(schema_of[kind])
    return {**kind, "items": _any_of(kind["items"], schema_of)} if "items" in kind else kind


def _operation_id(operation: Operation) -> str:
    words = "".join(char if char.isalnum() else " " for char in operation.path).split()
    return "_".join([operation.method, *(words or ["page"])])


def _add_idle_fields(schema: dict[str, Any], fields: Mapping[str, Sequence[Any]]) -> None:
    for name, idle in fields.items():
        schema["properties"][name] = {"enum": [*idle, None], "description": "Accepted with these values alone."}
