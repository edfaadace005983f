"""A request's bytes as a JSON object, with everything refused that two readers could understand differently."""

from __future__ import annotations

import json
import math
import re
from typing import Any, NoReturn

from server.errors import ErrorCode, ServiceError
from server.web.limits.table import MAX_JSON_CONTAINERS, MAX_JSON_DEPTH

_MAX_DIGITS = 20  # more than any 64-bit number has
_EXACT_BELOW = 2.0**53  # beyond it a float is a rounded whole number

# Strings are skipped whole, an unterminated one to the end; possessive, so that no text makes the scan go back.
_STRUCTURE = re.compile(rb'"(?:[^"\\]++|\\.)*+"?|[\[{]|[\]}]', re.DOTALL)
_SURROGATE_ESCAPE = re.compile(rb"\\u[dD][89abAB]|\\u[dD][c-fC-F]")


def read_object(body: bytes) -> dict[str, Any]:
    """The JSON object that `body` holds.

    Raises:
        ServiceError: INVALID_JSON for an empty body, bytes that are not UTF-8, anything that is not JSON, duplicate
            keys, NaN or infinite numbers, lone surrogates, nesting deeper than `MAX_JSON_DEPTH` or more than
            `MAX_JSON_CONTAINERS` objects and arrays; INVALID_FIELD for JSON that is not an object.
    """
    if not body.strip():
        _refuse("the body is empty; a JSON object is needed")
    text = _decode(body)
    _check_depth(body)
    try:
        value = _DECODER.decode(text)
    except json.JSONDecodeError as error:
        _refuse(f"the body is not JSON: {error.msg} (line {error.lineno}, column {error.colno})")
    if not isinstance(value, dict):
        raise ServiceError(ErrorCode.INVALID_FIELD, f"the body is {_kind(value)}; a JSON object is needed")
    if _SURROGATE_ESCAPE.search(body):
        _check_surrogates(value, "")
    return value


def _refuse(message: str, field: str | None = None) -> NoReturn:
    raise ServiceError(ErrorCode.INVALID_JSON, message, field=field)


def _decode(body: bytes) -> str:
    if body.startswith(b"\xef\xbb\xbf"):
        _refuse("the body begins with a byte order mark; plain UTF-8 is needed")
    try:
        return body.decode("utf-8")
    except UnicodeDecodeError as error:
        _refuse(f"the body is not UTF-8: byte 0x{body[error.start]:02x} at offset {error.start}")


def _check_depth(body: bytes) -> None:
    if body.count(b"[") + body.count(b"{") <= MAX_JSON_DEPTH:
        return
    depth = num_opened = 0
    for match in _STRUCTURE.finditer(body):
        first = body[match.start()]
        if first in b"[{":
            depth += 1
            num_opened += 1
            if num_opened > MAX_JSON_CONTAINERS:
                _refuse(f"the body holds more than {MAX_JSON_CONTAINERS} objects and arrays")
            if depth > MAX_JSON_DEPTH:
                _refuse(f"the body nests deeper than {MAX_JSON_DEPTH} levels at offset {match.start()}")
        elif first in b"]}":
            depth -= 1


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        seen: set[str] = set()
        for key, _ in pairs:
            if key in seen:
                name = printable(key)
                _refuse(f"{name} stands twice in one object; every key may stand once", name)
            seen.add(key)
    return found


def _constant(name: str) -> NoReturn:
    _refuse(f"{name} is not JSON; every number must be finite")


def _whole_number(digits: str) -> int:
    if len(digits) > _MAX_DIGITS:
        _refuse(f"the number {digits[:_MAX_DIGITS]}... has {len(digits)} digits; at most {_MAX_DIGITS} are legal")
    return int(digits)


def _number(digits: str) -> float | int:
    """JSON has one kind of number: 40.0 is as whole as 40."""
    value = float(digits)
    if math.isinf(value):
        _refuse(f"the number {digits[:40]} is too large; every number must be finite")
    return int(value) if value.is_integer() and abs(value) < _EXACT_BELOW else value


# One decoder for all threads: it holds no state between calls.
_DECODER = json.JSONDecoder(
    object_pairs_hook=_unique, parse_constant=_constant, parse_int=_whole_number, parse_float=_number
)


def _check_surrogates(value: object, path: str) -> None:
    if isinstance(value, str):
        if not _is_encodable(value):
            _refuse(f"{path} holds a lone surrogate, which is no character; send whole UTF-16 pairs or UTF-8", path)
    elif isinstance(value, list):
        for index, item in enumerate(value):
            _check_surrogates(item, f"{path}[{index}]")
    elif isinstance(value, dict):
        for key, item in value.items():
            if not _is_encodable(key):
                _refuse(f"the key {printable(key)} holds a lone surrogate, which is no character")
            _check_surrogates(item, f"{path}.{key}" if path else key)


def _is_encodable(text: str) -> bool:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def printable(text: str, most: int = 64) -> str:
    """`text` for a message: at most `most` characters, and none that cannot be sent."""
    return text[:most].encode("utf-8", "backslashreplace").decode("utf-8")


def _kind(value: object) -> str:
    names = {str: "a string", list: "an array", bool: "a boolean", int: "a number", float: "a number"}
    return names.get(type(value), "null")
