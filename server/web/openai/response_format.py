"""`response_format`: a reply that is JSON, by a schema or any."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from msgspec import Meta

ANY_OBJECT = "{}"  # JSON mode


class TextFormat(msgspec.Struct, frozen=True, tag_field="type", tag="text"):
    """Any text."""


class JsonObjectFormat(msgspec.Struct, frozen=True, tag_field="type", tag="json_object"):
    """Any JSON object."""


class NamedSchema(msgspec.Struct, frozen=True):
    """A JSON schema and what it is called."""

    schema: dict[str, Any]
    name: Annotated[str, Meta(description="Accepted without effect.")] = ""
    description: Annotated[str, Meta(description="Accepted without effect.")] | None = None
    strict: Annotated[bool, Meta(description="A schema is always kept to.")] | None = None


class JsonSchemaFormat(msgspec.Struct, frozen=True, tag_field="type", tag="json_schema"):
    """JSON that a schema allows."""

    json_schema: NamedSchema


ResponseFormat = TextFormat | JsonObjectFormat | JsonSchemaFormat


def json_schema(asked: ResponseFormat | None) -> str | None:
    """The schema as JSON text; None for plain text."""
    if isinstance(asked, JsonSchemaFormat):
        return msgspec.json.encode(asked.json_schema.schema).decode()
    return ANY_OBJECT if isinstance(asked, JsonObjectFormat) else None
