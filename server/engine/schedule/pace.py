"""How fast the group computes, and so how long what waits has to wait: measured step by step."""

from __future__ import annotations

_KEPT = 0.99  # of what is known, at each step: the last hundred or so count
_NEWEST = 0.1  # weight of the newest reply
_RIDGE = 1e-3  # keeps the fit in bounds while all steps are alike


class Pace:
    """Seconds of a step as `fixed` + a share for each token that is prefilled + one for each that is decoded.

    Fitted to the steps so far by least squares, old ones fading. What a reply takes besides its own tokens, as verdicts
    on it do, is known by the tokens that were prefilled for each reply that ended.
    """

    def __init__(self) -> None:
        self._products = [[0.0] * 3 for _ in range(3)]
        self._sums = [0.0] * 3
        self._prefilled = 0  # since the last reply ended
        self._new_tokens_a_reply = 0.0
        self._prefilled_a_reply = 0.0

    def add_step(self, num_prefilled: int, num_decoded: int, seconds: float) -> None:
        """A step has come back."""
        row = (1.0, float(num_prefilled), float(num_decoded))
        for at, value in enumerate(row):
            self._sums[at] = _KEPT * self._sums[at] + value * seconds
            for other, factor in enumerate(row):
                self._products[at][other] = _KEPT * self._products[at][other] + value * factor
        self._prefilled += num_prefilled

    def end_reply(self, num_new_tokens: int) -> None:
        """A reply has ended by itself."""
        weight = _NEWEST if self._new_tokens_a_reply else 1.0
        self._new_tokens_a_reply += weight * (num_new_tokens - self._new_tokens_a_reply)
        self._prefilled_a_reply += weight * (self._prefilled - self._prefilled_a_reply)
        self._prefilled = 0

    def reply_interval_s(self, num_running: int) -> float:
        """Seconds from the end of one reply to that of the next while `num_running` run; 0 while none has ended."""
        if not self._new_tokens_a_reply:
            return 0.0
        fixed, prefill, decode = self._costs()
        token_s = fixed / num_running + decode
        return self._new_tokens_a_reply * token_s + self._prefilled_a_reply * prefill

    def prefill_s(self, num_tokens: int) -> float:
        """Seconds that prefilling so many tokens takes."""
        return self._costs()[1] * num_tokens

    def _costs(self) -> tuple[float, float, float]:
        """Seconds of a step without a token, of a token prefilled, and of a token decoded."""
        rows = [[*products, total] for products, total in zip(self._products, self._sums, strict=True)]
        for at in range(3):
            rows[at][at] += _RIDGE * rows[at][at] + 1e-12
        return _solved(rows)


def _solved(rows: list[list[float]]) -> tuple[float, float, float]:
    """The solution of three equations, what is negative as 0; `rows` have the right side last."""
    for at in range(3):
        pivot = rows[at][at]
        rows[at] = [value / pivot for value in rows[at]]
        for other in range(3):
            if other != at:
                factor = rows[other][at]
                rows[other] = [value - factor * own for value, own in zip(rows[other], rows[at], strict=True)]
    fixed, prefill, decode = (max(0.0, row[3]) for row in rows)
    return fixed, prefill, decode
