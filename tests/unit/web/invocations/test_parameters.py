from __future__ import annotations

from typing import Any

import pytest

from server.config import Settings
from server.errors import ErrorCode, ServiceError
from server.web.invocations.parameters import Parameters, check_window, sampling
from server.web.reading.struct_reader import read_struct
from server.wire import Sampling
from tests.unit.web.fakes import Fakes


def read(**given: Any) -> Parameters:
    return read_struct(given, Parameters)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, Sampling(max_new_tokens=99)),
        ({"max_new_tokens": 7, "seed": -5}, Sampling(max_new_tokens=7, seed=-5)),
        ({"temperature": 0.6}, Sampling(max_new_tokens=99, do_sample=True, temperature=0.6)),
        ({"top_k": 40}, Sampling(max_new_tokens=99, do_sample=True, top_k=40)),
        ({"top_p": 0.9}, Sampling(max_new_tokens=99, do_sample=True, top_p=0.9)),
        ({"do_sample": True}, Sampling(max_new_tokens=99, do_sample=True)),
        ({"do_sample": False, "temperature": 0.6, "top_k": 40}, Sampling(max_new_tokens=99)),
        ({"temperature": 0, "do_sample": True, "top_p": 0.5}, Sampling(max_new_tokens=99)),
        ({"temperature": 1e-9}, Sampling(max_new_tokens=99)),
        ({"temperature": None, "top_k": None, "stop": None}, Sampling(max_new_tokens=99)),
        ({"repetition_penalty": 1.2}, Sampling(max_new_tokens=99, repetition_penalty=1.2)),
        ({"stop": ["", "a"], "top_k": -1}, Sampling(max_new_tokens=99, do_sample=True, stop=("a",))),
        ({"stop": ""}, Sampling(max_new_tokens=99)),
        ({"top_p": 0}, Sampling(max_new_tokens=99, do_sample=True, top_p=1e-6)),
        ({"logit_bias": {"7": -2}}, Sampling(max_new_tokens=99, logit_bias=((7, -2),))),
        ({"stop": "END"}, Sampling(max_new_tokens=99, stop=("END",))),
        ({"stop": ["a", "b", "c", "d"]}, Sampling(max_new_tokens=99, stop=("a", "b", "c", "d"))),
        ({"seed": 2**63 - 1}, Sampling(max_new_tokens=99, seed=2**63 - 1)),
    ],
)
def test_parameters_become_sampling(given: dict[str, Any], expected: Sampling) -> None:
    assert sampling(read(**given), 99) == expected


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("temperature", -0.1), ("temperature", 2.1), ("temperature", "1"), ("temperature", True), ("temperature", [1]),
        ("top_k", -2), ("top_k", 1.5), ("top_k", "4"), ("top_k", True), ("top_k", 10**9),
        ("top_p", 1.01), ("top_p", "1"),
        ("max_new_tokens", 0), ("max_new_tokens", -1), ("max_new_tokens", 2.5), ("max_new_tokens", "8"),
        ("do_sample", 1), ("do_sample", "true"),
        ("no_retrieval", "yes"), ("no_retrieval", 1),
        ("repetition_penalty", 0), ("repetition_penalty", -1.0),
        ("stop", 3), ("stop", ["a"] * 65), ("stop", ["x" * 257]), ("min_p", 1.1), ("frequency_penalty", 3),
        ("seed", 2**63), ("seed", -(2**63) - 1), ("seed", 1.5), ("seed", "1"),
        ("session_id", 5), ("session_id", ["a"]),
    ],
)  # fmt: skip
def test_a_value_out_of_its_range_or_of_another_type_is_refused(name: str, value: Any) -> None:
    with pytest.raises(ServiceError) as caught:
        read(**{name: value})
    assert caught.value.code is ErrorCode.INVALID_FIELD
    assert caught.value.field is not None
    assert caught.value.field.startswith(name)
    assert "expected" in caught.value.message


def test_an_answer_as_long_as_the_window_is_refused_with_both_numbers_where_the_settings_say_so() -> None:
    strict = Fakes(settings=Settings(long_replies="refuse")).services
    check_window(2047, strict, "max_new_tokens")
    check_window(2048, Fakes().services, "max_new_tokens")
    with pytest.raises(ServiceError, match="max_new_tokens=2048: must be below the model's window of 2048 tokens"):
        check_window(2048, strict, "max_new_tokens")
