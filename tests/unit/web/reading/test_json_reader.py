from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from server.errors import ErrorCode, ServiceError
from server.web.limits.table import MAX_JSON_CONTAINERS, MAX_JSON_DEPTH
from server.web.reading.json_reader import read_object


def object_or_refusal(body: bytes) -> dict[str, Any] | ServiceError:
    try:
        return read_object(body)
    except ServiceError as error:
        return error


def refusal(body: bytes) -> ServiceError:
    with pytest.raises(ServiceError) as caught:
        read_object(body)
    return caught.value


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"", "empty"),
        (b" \n\t", "empty"),
        (b"{", "not JSON"),
        (b'{"a": 1} x', "not JSON"),
        (b"{'a': 1}", "not JSON"),
        (b'{"a": 1,}', "not JSON"),
        (b'{"a": "\x01"}', "not JSON"),
        (b"\xef\xbb\xbf{}", "byte order mark"),
        (b'{"a": "\xff"}', "byte 0xff at offset 7"),
        (b'{"a": "\xed\xa0\x80"}', "not UTF-8"),
        (b"\xff\xfe{\x00}\x00", "not UTF-8"),
        (b'{"a": NaN}', "NaN"),
        (b'{"a": [Infinity]}', "Infinity"),
        (b'{"a": -Infinity}', "-Infinity"),
        (b'{"a": 1e999}', "1e999 is too large"),
        (b'{"a": 123456789012345678901}', "has 21 digits"),
        (b'{"a": ' + b"9" * 100_000 + b"}", "has 100000 digits"),
        (b'{"a": 1, "b": 2, "a": 3}', "a stands twice"),
        (b'{"p": {"top_k": 1, "top_k": 1}}', "top_k stands twice"),
        (rb'{"a": {"b": ["x", "\ud800"]}}', "a.b[1] holds a lone surrogate"),
        (rb'{"a": "\udc00\ud800"}', "lone surrogate"),
        (rb'{"\uD800": 1}', "lone surrogate"),
        (rb'{"\ud800": 1, "\ud800": 2}', "stands twice"),
        (b"[" * 100_000, f"deeper than {MAX_JSON_DEPTH}"),
        (b'{"a":' * 100_000 + b"1" + b"}" * 100_000, f"deeper than {MAX_JSON_DEPTH}"),
        (b'{"a":[' + b"[]," * MAX_JSON_CONTAINERS + b"[]]}", f"more than {MAX_JSON_CONTAINERS}"),
    ],
)
def test_what_is_no_unambiguous_json_is_refused(body: bytes, said: str) -> None:
    error = refusal(body)
    assert error.code is ErrorCode.INVALID_JSON
    assert said in error.message
    error.message.encode("utf-8")


@pytest.mark.parametrize(
    ("body", "kind"),
    [(b"[]", "an array"), (b'"a"', "a string"), (b"1", "a number"), (b"true", "a boolean"), (b"null", "null")],
)
def test_json_that_is_no_object_is_refused_by_its_kind(body: bytes, kind: str) -> None:
    error = refusal(body)
    assert error.code is ErrorCode.INVALID_FIELD
    assert kind in error.message


def test_brackets_inside_strings_do_not_count_as_nesting() -> None:
    text = '[{"\\' * 100_000
    assert read_object(json.dumps({"inputs": text}).encode()) == {"inputs": text}


@pytest.mark.parametrize(
    ("number", "read"), [(b"40.0", 40), (b"4e1", 40), (b"-0.0", 0), (b"0.5", 0.5), (b"1e300", 1e300)]
)
def test_a_whole_number_is_whole_however_it_is_written(number: bytes, read: float) -> None:
    found = read_object(b'{"a": ' + number + b"}")["a"]
    assert found == read
    assert type(found) is type(read)


def test_nesting_up_to_the_limit_is_read() -> None:
    depth = MAX_JSON_DEPTH - 1
    value = read_object(b'{"a":' + b"[" * depth + b"]" * depth + b"}")
    for _ in range(depth):
        value = value["a"] if isinstance(value, dict) else value[0]
    assert value == []


def test_whole_surrogate_pairs_are_read() -> None:
    assert read_object(rb'{"a": "\ud83d\ude00"}') == {"a": "\U0001f600"}


@pytest.mark.parametrize("unit", [b'\\"', b"[", b'["', b"\\"])
def test_hostile_megabytes_are_scanned_once(unit: bytes) -> None:
    # A scan that went back for every quote would not come to an end.
    assert refusal(b'{"a":"' + unit * 1_000_000).code is ErrorCode.INVALID_JSON


numbers = st.integers(-(2**63), 2**63) | st.floats(allow_nan=False, allow_infinity=False)
json_values = st.recursive(
    st.none() | st.booleans() | numbers | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


@settings(deadline=None)
@given(st.dictionaries(st.text(), json_values, max_size=5), st.booleans())
def test_whatever_a_json_writer_writes_is_read_back(value: dict[str, object], ascii_only: bool) -> None:
    assert read_object(json.dumps(value, ensure_ascii=ascii_only).encode()) == value


@given(st.binary(max_size=200) | st.text(alphabet='{}[]",:\\u0dD8eE+-.1a ', max_size=80).map(str.encode))
@settings(max_examples=300, deadline=None)
def test_any_bytes_give_an_object_or_a_refusal(body: bytes) -> None:
    outcome = object_or_refusal(body)
    if isinstance(outcome, ServiceError):
        assert outcome.code in (ErrorCode.INVALID_JSON, ErrorCode.INVALID_FIELD)
        outcome.message.encode("utf-8")
    else:
        assert outcome == json.loads(body)
        json.dumps(outcome, ensure_ascii=False, allow_nan=False).encode("utf-8")


@settings(deadline=None)
@given(st.floats())
def test_a_number_is_read_if_and_only_if_it_is_finite(number: float) -> None:
    body = json.dumps({"a": number}).encode()
    if math.isfinite(number):
        assert read_object(body) == {"a": number}
    else:
        assert refusal(body).code is ErrorCode.INVALID_JSON
