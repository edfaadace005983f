"""`response_format`: a reply that is JSON, by a schema or any."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from msgspec import Meta

from server.errors import ErrorCode, ServiceError
from server.web.limits.table import MAX_NAME_CHARS, MAX_SCHEMA_CHARS

ANY_OBJECT = "{}"  # JSON mode


class TextFormat(msgspec.Struct, frozen=True, tag_field="type", tag="text"):
    """Any text."""


class JsonObjectFormat(msgspec.Struct, frozen=True, tag_field="type", tag="json_object"):
    """Any JSON object, or where there is a schema, as llama.cpp and others have it, one that it allows."""

    schema: dict[str, Any] | None = None


class NamedSchema(msgspec.Struct, frozen=True):
    """A JSON schema and what it is called."""

    schema: dict[str, Any]
    name: Annotated[str, Meta(max_length=MAX_NAME_CHARS, description="Accepted without effect.")] = ""
    description: Annotated[str, Meta(description="Accepted without effect.")] | None = None
    strict: Annotated[bool, Meta(description="A schema is always kept to.")] | None = None


class JsonSchemaFormat(msgspec.Struct, frozen=True, tag_field="type", tag="json_schema"):
    """JSON that a schema allows."""

    json_schema: NamedSchema


ResponseFormat = TextFormat | JsonObjectFormat | JsonSchemaFormat


def json_schema(asked: ResponseFormat | None) -> str | None:
    """The schema as JSON text; None for plain text. Raises ServiceError as `schema_text` does."""
    if isinstance(asked, JsonSchemaFormat):
        return schema_text(asked.json_schema.schema, "response_format.json_schema.schema")
    if isinstance(asked, JsonObjectFormat) and asked.schema is not None:
        return schema_text(asked.schema, "response_format.schema")
    return ANY_OBJECT if isinstance(asked, JsonObjectFormat) else None


def schema_text(schema: dict[str, Any], field: str) -> str:
    """A schema as the engine takes it. Raises ServiceError INVALID_FIELD for a very large one."""
    text = msgspec.json.encode(schema).decode()
    if len(text) > MAX_SCHEMA_CHARS:
        message = f"{field} has {len(text)} characters as JSON; at most {MAX_SCHEMA_CHARS} are legal"
        raise ServiceError(ErrorCode.INVALID_FIELD, message, field=field)
    return text
