"""A figure stands beside what the machine allows."""

from __future__ import annotations

import pytest

from server.engine.bench.limits import MachineLimits

LIMITS = MachineLimits(step_bytes=200e6, token_products=100e6, bytes_per_s=20e9, products_per_s=80e9)


def test_few_replies_are_limited_by_reading_and_many_by_products() -> None:
    assert LIMITS.decode(1) == (100.0, "reading")
    assert LIMITS.decode(4) == (400.0, "reading")
    assert LIMITS.decode(16) == (800.0, "products")
    assert LIMITS.prefill() == 800.0


def test_without_a_rate_of_products_reading_is_all_that_is_known() -> None:
    limits = MachineLimits(200e6, 100e6, 20e9, None)
    assert limits.decode(16) == (1600.0, "reading")
    assert limits.prefill() is None


def test_a_row_keeps_its_figures_and_gets_its_limits() -> None:
    row = LIMITS.beside({"batch": 16, "decode_tokens_per_s": 500.0})
    assert row["decode_tokens_per_s"] / row["decode_limit_tokens_per_s"] == pytest.approx(0.625)
    assert row["decode_limited_by"] == "products"
