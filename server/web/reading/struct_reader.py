"""A JSON object as a request struct; what does not fit is refused with the field, what was found and what is legal."""

from __future__ import annotations

import difflib
import re
import reprlib
from collections.abc import Sequence
from typing import Any, TypeVar

import msgspec
from msgspec import inspect

from server.errors import ErrorCode, ServiceError
from server.web.reading.json_reader import printable

T = TypeVar("T", bound=msgspec.Struct)

_AT = re.compile(r" - at `\$(.*)`$", re.DOTALL)
_UNKNOWN = re.compile(r"Object contains unknown field `(.*)`$", re.DOTALL)
_MISSING = re.compile(r"Object missing required field `(.*)`$", re.DOTALL)
_STEP = re.compile(r"\.([^.\[\]]+)|\[(\d+)\]")


class _ShortRepr(reprlib.Repr):
    """Values for messages: enough to recognise them by."""

    def __init__(self) -> None:
        super().__init__()
        self.maxstring = self.maxother = self.maxlong = 60
        self.maxdict = self.maxlist = 3


_SHORT = _ShortRepr()


def read_struct(data: dict[str, Any], kind: type[T], *, strict: bool = True) -> T:
    """`data` as a `kind`; what comes from a query string has its numbers as text, which is not `strict`.

    Raises:
        ServiceError: UNKNOWN_FIELD for a name that `kind` has not, INVALID_FIELD for a value that it does not allow.
    """
    try:
        return msgspec.convert(data, kind, strict=strict)
    except msgspec.ValidationError as error:
        raise _refusal(str(error), data, kind) from error


def invalid(field: str, found: object, legal: str) -> ServiceError:
    """The refusal of one field's value."""
    return ServiceError(
        ErrorCode.INVALID_FIELD, f"{field}={printable_value(found)}: {printable(legal, 400)}", field=field
    )


def unknown(field: str, legal: Sequence[str]) -> ServiceError:
    """The refusal of a field nobody knows; `field` is its path, `legal` the names that could stand in its place."""
    name = field.rpartition(".")[2]
    close = difflib.get_close_matches(name[:64], legal, n=1)
    hint = f"; did you mean {close[0]}?" if close else "."
    return ServiceError(
        ErrorCode.UNKNOWN_FIELD,
        f"{printable(field)} is not a known field{hint} Legal names: {', '.join(legal)}",
        field=printable(field),
    )


def printable_value(found: object) -> str:
    """A value for a message, shortened."""
    return printable(_SHORT.repr(found), 100)


def _refusal(message: str, data: dict[str, Any], kind: type[msgspec.Struct]) -> ServiceError:
    place = _AT.search(message)
    path = place[1] if place else ""
    cause = message[: place.start()] if place else message
    if match := _UNKNOWN.match(cause):
        return unknown(_join(path, match[1]), _names_at(kind, path))
    if match := _MISSING.match(cause):
        field = _join(path, match[1])
        return ServiceError(ErrorCode.INVALID_FIELD, f"{field} is missing", field=field)
    found = _value_at(data, path)
    return invalid(_join(path), found, f"{_lowered(cause)}{_found_length(found, cause)}")


def _join(path: str, name: str = "") -> str:
    return ".".join(part for part in (path.lstrip("."), name) if part)


def _lowered(cause: str) -> str:
    return cause[:1].lower() + cause[1:].replace("`", "")


def _found_length(found: object, cause: str) -> str:
    """How long a value is whose length is not legal: what is shown of it does not tell."""
    return f", found {len(found)}" if "length" in cause and isinstance(found, str | list | dict) else ""


def _value_at(data: object, path: str) -> object:
    for step in _STEP.finditer(path):
        data = data[int(step[2])] if isinstance(data, list) else data[step[1]]  # type: ignore[index]
    return data


def _names_at(kind: type[msgspec.Struct], path: str) -> list[str]:
    """The field names of the struct at `path` inside `kind`."""
    found: inspect.Type = inspect.type_info(kind)
    for step in _STEP.finditer(path):
        if isinstance(found, inspect.StructType):
            found = next(field.type for field in found.fields if field.encode_name == step[1])
        elif isinstance(found, inspect.ListType):
            found = found.item_type
        found = _struct_of(found)
    assert isinstance(found, inspect.StructType), path
    return [field.encode_name for field in found.fields]


def _struct_of(found: inspect.Type) -> inspect.Type:
    """Of a union, the part in which names can stand."""
    if not isinstance(found, inspect.UnionType):
        return found
    return next(each for each in found.types if isinstance(each, inspect.StructType | inspect.ListType))
