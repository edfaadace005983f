"""Requests checked against botocore's own service models, so that a mistake stops before anything is sent.

botocore itself checks types, required members, unknown members and lower bounds. The models also carry upper bounds,
patterns and closed value sets, which botocore leaves to the service: they are checked here.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from typing import Any

import botocore.session
from botocore.model import ListShape, MapShape, Shape, StringShape, StructureShape
from botocore.session import Session
from botocore.validate import ParamValidator

# The models' patterns are Java's: what Python writes otherwise.
_JAVA_CLASSES = {r"\p{L}": r"\w", r"\p{N}": r"\d", r"\p{Z}": r"\s", r"\p{ASCII}": r"\x00-\x7f", r"\p{Print}": " -~"}
_JAVA_SURROGATES = r"\uD800\uDC00-\uDBFF\uDFFF"


def problems(service: str, operation: str, parameters: dict[str, Any]) -> list[str]:
    """What botocore's model of `operation` does not allow in `parameters`; empty when the request is well formed."""
    shape = _input_shape(service, operation)
    if shape is None:
        return [] if not parameters else [f"{operation} takes no parameters, found {sorted(parameters)}"]
    report = ParamValidator().validate(parameters, shape)
    if report.has_errors():
        return str(report.generate_report()).splitlines()
    return list(_limits(parameters, shape, ""))


@cache
def model_session() -> Session:
    """One botocore session whose loader keeps the models it has read: SageMaker's takes a second to parse."""
    return botocore.session.get_session()


@cache
def _input_shape(service: str, operation: str) -> Shape | None:
    return model_session().get_service_model(service).operation_model(operation).input_shape


def _limits(value: Any, shape: Shape, path: str) -> Iterator[str]:
    if isinstance(shape, StructureShape):
        for name, member in value.items():
            yield from _limits(member, shape.members[name], f"{path}.{name}".lstrip("."))
    elif isinstance(shape, ListShape):
        yield from _size(len(value), shape, path)
        for position, member in enumerate(value):
            yield from _limits(member, shape.member, f"{path}[{position}]")
    elif isinstance(shape, MapShape):
        yield from _size(len(value), shape, path)
        for key, member in value.items():
            yield from _limits(key, shape.key, f"{path} key {key!r}")
            yield from _limits(member, shape.value, f"{path}[{key!r}]")
    elif isinstance(shape, StringShape):
        yield from _string(value, shape, path)
    elif shape.type_name in ("integer", "long", "float", "double"):
        yield from _size(value, shape, path)


def _size(size: float, shape: Shape, path: str) -> Iterator[str]:
    most = shape.metadata.get("max")
    if most is not None and size > most:
        yield f"{path}: {size} is above the limit of {most}"


def _string(value: str, shape: StringShape, path: str) -> Iterator[str]:
    if shape.enum and value not in shape.enum:
        yield f"{path}: {value!r} is not one of {', '.join(shape.enum)}"
    for overflow in _size(len(value), shape, path):
        yield f"{overflow} characters"
    expression = _expression(shape.metadata.get("pattern", ""))
    if expression and not expression.fullmatch(value):
        yield f"{path}: {value!r} does not match {shape.metadata['pattern']}"


@cache
def _expression(pattern: str) -> re.Pattern[str] | None:
    try:
        return re.compile(_in_python(pattern), re.DOTALL) if pattern else None
    except (KeyError, re.error):  # a class Python does not have: left to the service, as botocore leaves all of them
        return None


def _in_python(pattern: str) -> str:
    pattern = pattern.replace(_JAVA_SURROGATES, r"\U00010000-\U0010ffff").replace(r"\z", r"\Z")
    written, inside_class = [], False
    for piece in re.findall(r"\\p\{\w+\}|\\.|.", pattern, re.DOTALL):
        if piece.startswith(r"\p{"):
            written.append(_JAVA_CLASSES[piece] if inside_class else f"[{_JAVA_CLASSES[piece]}]")
        else:
            inside_class = piece == "[" or (inside_class and piece != "]")
            written.append(piece)
    return "".join(written)
