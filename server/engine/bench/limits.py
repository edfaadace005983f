"""What a machine allows: no step is quicker than reading its weights, nor than multiplying its tokens by them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class MachineLimits:
    """All ranks together. Keys and values, and all arithmetic outside the matrices, are not counted.

    Attributes:
        step_bytes: weights that a step reads.
        token_products: products that a token takes, one a weight.
        bytes_per_s: read from memory, measured.
        products_per_s: with weights in the cache, measured; None where that was not.
    """

    step_bytes: float
    token_products: float
    bytes_per_s: float
    products_per_s: float | None

    @classmethod
    def of(cls, report: dict[str, Any]) -> MachineLimits:
        """Those of a benchmark's report."""
        return cls(
            report["weight_bytes_per_token"],
            report["products_per_token"],
            report["read_bandwidth_bytes_per_s"],
            products_per_s=report["products_per_s"],
        )

    def decode(self, batch: int) -> tuple[float, str]:
        """Tokens a second that `batch` replies at once can get, and what limits them: reading or products."""
        reading_s = self.step_bytes / self.bytes_per_s
        products_s = 0.0 if self.products_per_s is None else batch * self.token_products / self.products_per_s
        return batch / max(reading_s, products_s), "reading" if reading_s >= products_s else "products"

    def prefill(self) -> float | None:
        """Tokens of prompts a second; None where products were not measured."""
        return None if self.products_per_s is None else self.products_per_s / self.token_products

    def beside(self, row: dict[str, Any]) -> dict[str, Any]:
        """A row of results with its limits."""
        limit, by = self.decode(int(row["batch"]))
        return {
            **row,
            "decode_limit_tokens_per_s": limit,
            "decode_limited_by": by,
            "prefill_limit_tokens_per_s": self.prefill(),
        }
