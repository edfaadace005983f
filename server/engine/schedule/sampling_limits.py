"""What a request may ask of sampling. The front refuses the same, by its own names; rank 0 believes nobody."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from server.errors import ErrorCode, ServiceError
from server.wire import Sampling

MAX_LOGPROBS = 20
_MAX_TOKENS = 2**31


def _is_number(least: float, most: float) -> Callable[[Any], bool]:
    return lambda value: math.isfinite(value) and least <= value <= most


# Field, what is legal, and the same in words.
_RULES: tuple[tuple[str, Callable[[Any], bool], str], ...] = (
    ("max_new_tokens", _is_number(1, math.inf), "at least 1"),
    ("temperature", _is_number(0, math.inf), "0, which is greedy, or a positive number"),
    ("top_k", _is_number(0, _MAX_TOKENS), "0, which is all, or a positive whole number"),
    ("top_p", lambda value: 0 < value <= 1, "more than 0 and at most 1"),
    ("min_p", _is_number(0, 1), "0 to 1"),
    ("repetition_penalty", lambda value: 0 < value < math.inf, "a positive number; 1 changes nothing"),
    ("frequency_penalty", _is_number(-100, 100), "-100 to 100"),
    ("presence_penalty", _is_number(-100, 100), "-100 to 100"),
    ("min_tokens", _is_number(0, math.inf), "0 or more"),
    ("logprobs", lambda value: value is None or 0 <= value <= MAX_LOGPROBS, f"none, or 0 to {MAX_LOGPROBS}"),
    ("stop", all, "strings with at least one character"),
)


def check_sampling(sampling: Sampling, vocab_size: int) -> None:
    """Refuse what cannot be sampled with.

    Raises:
        ServiceError: INVALID_FIELD, with the field, what was found and what is legal.
    """
    for field, is_legal, legal in _RULES:
        value = getattr(sampling, field)
        if not is_legal(value):
            raise _invalid(field, f"{field}={value!r}: legal is {legal}.")
    if sampling.min_tokens > sampling.max_new_tokens:
        legal = f"at most max_new_tokens={sampling.max_new_tokens}"
        raise _invalid("min_tokens", f"min_tokens={sampling.min_tokens}: legal is {legal}.")
    for token in sampling.stop_token_ids:
        if not 0 <= token < vocab_size:
            raise _invalid("stop_token_ids", f"stop_token_ids has {token}: legal are token ids 0 to {vocab_size - 1}.")
    for token, bias in sampling.logit_bias:
        if not (0 <= token < vocab_size and math.isfinite(bias)):
            legal = f"token ids 0 to {vocab_size - 1} and finite numbers"
            raise _invalid("logit_bias", f"logit_bias has {bias} for token id {token}; legal are {legal}.")


def _invalid(field: str, message: str) -> ServiceError:
    return ServiceError(ErrorCode.INVALID_FIELD, message, field=field)
