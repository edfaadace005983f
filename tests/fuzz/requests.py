"""Requests for every route: legal ones, and others with values, keys, bytes, paths and heads changed."""

from __future__ import annotations

import copy
import json
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

JSON_TYPE = "application/json"
_TURN = {
    "inputs": "What is albedo?",
    "stream": False,
    "parameters": {
        "session_id": "s1", "max_new_tokens": 8, "temperature": 0.6, "top_k": 40, "top_p": 0.9, "min_p": 0.1,
        "do_sample": True, "repetition_penalty": 1.1, "frequency_penalty": 0.1, "presence_penalty": 0.1, "seed": 7,
        "stop": ["\n"], "no_retrieval": False, "search_k": 2, "retrieval": "auto", "cite": True, "ignore_eos": False,
        "min_tokens": 1, "filter": {"language": "en"}, "system": "Be brief.", "replace_turn": 1,
    },
}  # fmt: skip
_MESSAGES = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": [{"type": "text", "text": "Hi"}]}]
_CHAT = {
    "model": "openchatkit", "messages": _MESSAGES, "max_tokens": 8, "temperature": 0.5, "n": 2, "stream": True,
    "stream_options": {"include_usage": True}, "logit_bias": {"5": 1.5}, "logprobs": True, "top_logprobs": 2,
    "user": "u", "stop": "x",
    "response_format": {"type": "json_schema", "json_schema": {"name": "a", "schema": {"type": "object"}}},
}  # fmt: skip
_SEEDS: list[tuple[str, str, Any]] = [
    ("POST", "/invocations", _TURN),
    ("POST", "/invocations", {"inputs": ["Good morning", "Who was Lincoln?"], "parameters": {}}),
    ("POST", "/invocations", {"inputs": "Good morning", "stream": True}),
    ("POST", "/invocations", {"action": "history", "session_id": "s1", "after": 0, "limit": 2}),
    ("POST", "/invocations", {"action": "delete", "session_id": "s2"}),
    ("POST", "/invocations", {"action": "cancel", "session_id": "s1", "request_id": "r"}),
    ("POST", "/v1/chat/completions", _CHAT),
    ("POST", "/v1/chat/completions", {"messages": [{"role": "user", "content": "Hi"}]}),
    (
        "POST",
        "/v1/completions",
        {"model": "m", "prompt": ["Once", "Twice"], "max_tokens": 4, "echo": True, "suffix": "x"},
    ),
    ("POST", "/v1/completions", {"prompt": [1, 2, 3], "logprobs": 2, "best_of": 1, "stream": True}),
    ("POST", "/v1/responses", {"model": "m", "input": "Hi", "instructions": "Be brief.", "stream": True}),
    ("POST", "/v1/responses", {"input": [{"role": "user", "content": [{"type": "input_text", "text": "Hi"}]}]}),
    ("POST", "/v1/embeddings", {"model": "m", "input": ["a", "b"], "encoding_format": "base64", "dimensions": 3}),
    ("POST", "/v1/moderations", {"input": ["a", {"type": "text", "text": "b"}]}),
    ("POST", "/search", {"query": "albedo", "k": 2, "w": 1, "w_th": 0.5, "filter": {"language": ["en"]}}),
    ("POST", "/sessions/s1/cancel", {}),
    ("POST", "/sessions/s1/turns/1/feedback", {"rating": "up", "comment": "good", "score": 1}),
    ("DELETE", "/sessions/s1/turns/1", None),
    ("DELETE", "/sessions/s2", None),
    ("GET", "/sessions/s1?after=0&limit=5", None),
    ("GET", "/sessions?q=albedo&limit=5&owner=alice", None),
    ("GET", "/sessions/s1/export", None),
    ("GET", "/export", None),
    ("GET", "/v1/models", None),
    ("GET", "/v1/models/openchatkit", None),
    ("GET", "/ping?detail=1", None),
    ("GET", "/metrics", None),
    ("GET", "/openapi.json", None),
    ("GET", "/", None),
]
ODD_VALUES: list[Any] = [
    None, True, False, 0, -1, 1, 2**31, 2**63, -(2**64), 10**30, 0.0, -0.0, 1e308, 5e-324, 0.5, "", " ", "0", "true",
    "null", "\x00", "\u202e\u200b", "\U000e0041\U000e0042", "\U0001f600" * 50, "a" * 20_000, "<human>: hi\n<bot>:",
    "<|endoftext|>", "kill", "../../etc/passwd", "NEW_SESSION", "s1", "\r\nX: y", "{", "%s%n", [], {}, [[]], [None],
    [1, "a"], {"": ""}, {"a": {"b": {"c": []}}}, ["x"] * 200, list(range(300)), {"type": "object", "$ref": "#"},
    {"$ref": "http://x/y"},
    {"type": "string", "pattern": "(a+)+$"}, {"enum": []}, {"anyOf": [{}] * 50},
]  # fmt: skip
_KEYS = [
    "inputs", "parameters", "stream", "session_id", "messages", "role", "content", "n", "seed", "stop", "tools",
    "action", "filter", "json_schema", "logprobs", "max_tokens", "", "__proto__", "\ud7ff", "a.b", "input", "prompt",
    "query", "type",
]  # fmt: skip
_TYPES = [
    JSON_TYPE,
    "application/json; charset=utf-8",
    "application/json; charset=utf-16",
    "text/plain",
    "",
    "a/b;c=\xe9",
]
_TYPES += ["application/jsonlines", "multipart/form-data; boundary=x", "application/x-www-form-urlencoded"]
_HEADS: dict[str, list[str]] = {
    "Accept": ["text/event-stream", "application/jsonlines", "*/*;q=x", "application/openmetrics-text", "\xff"],
    "Idempotency-Key": ["k", "", "a" * 5000, "\xe9 \t"],
    "X-Amzn-SageMaker-Session-Id": ["NEW_SESSION", "s1", "../x", "a" * 300],
    "X-Amzn-SageMaker-Inference-Id": ["i", "\xff\xfe"],
    "X-Request-Id": ["r-1", "r\x7f", "r" * 400],
    "Content-Encoding": ["gzip", "identity"],
    "Origin": ["http://evil.example", "null"],
    "Host": ["localhost", "evil.example:99999", "[::1"],
    "traceparent": ["00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", "00-zz"],
    "Authorization": ["Bearer x", "Basic ???"],
    "Content-Length": ["0", "-1", "99999999999", "x"],
}
_METHODS = ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "HEAD", "TRACE", "BREW"]


@dataclass(frozen=True)
class Request:
    """What is sent."""

    method: str
    path: str
    body: bytes
    headers: dict[str, str] = field(default_factory=dict)


def make(rng: random.Random) -> Request:
    """One request: of five, about one legal, two with changed values, two with changed bytes, path or head."""
    method, path, body = copy.deepcopy(rng.choice(_SEEDS))
    headers = {"Content-Type": JSON_TYPE}
    for _ in range(rng.choice((0, 1, 1, 2, 5))):
        body = changed(body, rng)
    raw = b"" if body is None else json.dumps(body, ensure_ascii=rng.random() < 0.5).encode("utf-8", "surrogatepass")
    if rng.random() < 0.25:
        raw = damaged(raw, rng)
    if rng.random() < 0.2:
        path = _another_path(path, rng)
    if rng.random() < 0.1:
        method = rng.choice(_METHODS)
    if rng.random() < 0.2:
        headers["Content-Type"] = rng.choice(_TYPES)
    if rng.random() < 0.3:
        name = rng.choice(sorted(_HEADS))
        headers[name] = rng.choice(_HEADS[name])
    return Request(method, path, raw, headers)


def changed(value: Any, rng: random.Random) -> Any:
    """`value` with something in it replaced, taken away, added, doubled or buried."""
    if isinstance(value, dict) and value and rng.random() < 0.8:
        return _changed_object(value, rng)
    if isinstance(value, list) and value and rng.random() < 0.7:
        at = rng.randrange(len(value))
        return [*value[:at], changed(value[at], rng), *value[at + 1 :], *rng.choice(([], [], value[:1], value * 20))]
    if isinstance(value, str) and rng.random() < 0.4:
        return damaged(value.encode(), rng).decode("utf-8", "replace")
    odd: Callable[[], Any] = rng.choice(
        (lambda: rng.choice(ODD_VALUES), lambda: rng.uniform(-3, 3), lambda: _deep(rng))
    )
    return odd()


def _changed_object(value: dict[str, Any], rng: random.Random) -> dict[str, Any]:
    key = rng.choice(sorted(value))
    draw = rng.random()
    if draw < 0.6:
        return {**value, key: changed(value[key], rng)}
    if draw < 0.75:
        return {name: each for name, each in value.items() if name != key}
    if draw < 0.9:
        return {**value, rng.choice(_KEYS): rng.choice(ODD_VALUES)}
    return {rng.choice(_KEYS): value, **value}


def _deep(rng: random.Random) -> Any:
    value: Any = rng.choice(ODD_VALUES)
    for _ in range(rng.choice((3, 30, 100))):
        value = [value] if rng.random() < 0.5 else {"a": value}
    return value


def damaged(raw: bytes, rng: random.Random) -> bytes:
    """`raw` with bytes changed, cut out, repeated or put in."""
    found = bytearray(raw)
    for _ in range(rng.randint(1, 4)):
        start, size = rng.randint(0, len(found)), rng.choice((0, 0, 1, 3, 30))
        piece = rng.choice(
            (
                rng.randbytes(rng.randint(0, 6)),
                b'"',
                b"\\",
                b"[" * 40,
                b"[" * 5000,
                b"\\ud800",
                b"NaN",
                b",",
                b"\xff",
                raw,
            )
        )
        found[start : start + size] = piece
    return bytes(found[: rng.choice((len(found), len(found), rng.randint(0, len(found))))])


def _another_path(path: str, rng: random.Random) -> str:
    parts = path.split("/")
    at = rng.randrange(len(parts))
    parts[at] = rng.choice(
        ("..", "", "%00", quote(rng.randbytes(4)), "s1", "-1", "99999999999999999999", "1e3", "a" * 500)
    )
    return "/".join(parts) + rng.choice(
        ("", "?", "?after=x", "?limit=0", "?limit=99999999999999999999", "?detail=%ff", "#")
    )
