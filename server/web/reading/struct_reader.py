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
_CHOICE = re.compile(r"Invalid (?:enum )?value '")
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
    legal = _choices_at(kind, path) if _CHOICE.match(cause) else []
    words = f"legal are {', '.join(legal)}" if legal else f"{_lowered(cause)}{_found_length(found, cause)}"
    return invalid(_join(path), found, words)


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


def _choices_at(kind: type[msgspec.Struct], path: str) -> list[str]:
    """The words that are legal at `path` inside `kind`; none where not only certain words are."""
    found = [inspect.type_info(kind)]
    for step in _STEP.finditer(path):
        found = [inner for each in found for whole in _alternatives(each) for inner in _inside(whole, step[1])]
    return [word for whole in found for each in _alternatives(whole) for word in _words(each)]


def _words(found: inspect.Type) -> list[str]:
    if isinstance(found, inspect.EnumType):
        return [str(each.value) for each in found.cls]
    return [str(each) for each in found.values] if isinstance(found, inspect.LiteralType) else []


def _alternatives(found: inspect.Type) -> Sequence[inspect.Type]:
    if isinstance(found, inspect.Metadata):
        return _alternatives(found.type)
    if isinstance(found, inspect.UnionType):
        return [each for part in found.types for each in _alternatives(part)]
    return [found]


def _inside(found: inspect.Type, name: str | None) -> list[inspect.Type]:
    """What may stand in a struct under `name`, which may tell its kind, or in a list."""
    if isinstance(found, inspect.ListType):
        return [found.item_type] if name is None else []
    if not isinstance(found, inspect.StructType):
        return []
    if name is not None and name == found.tag_field:
        return [inspect.LiteralType((found.tag,))]
    return [field.type for field in found.fields if field.encode_name == name]


def _struct_of(found: inspect.Type) -> inspect.Type:
    """Of a union, the part in which names can stand."""
    if not isinstance(found, inspect.UnionType):
        return found
    return next(each for each in found.types if isinstance(each, inspect.StructType | inspect.ListType))
