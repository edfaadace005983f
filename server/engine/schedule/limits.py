"""How much the scheduler may put into a step, and how much may wait."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class ScheduleLimits:
    """Bounds of one engine group.

    `max_queue` and `max_queued_tokens` bound replies, verdicts on replies under way and all other classifications
    separately, so that neither a full chat queue nor a flood of texts can refuse the verdict that a reply waits for.

    Raises:
        ValueError: a bound under which some admitted request could never run.
    """

    max_step_tokens: int = 512  # new tokens of all models in one step
    max_running: int = 32  # replies being prefilled or decoded at once
    max_queue: int = 128  # requests that wait beyond those that could start at once
    max_queued_tokens: int = 131072  # their tokens; a reply or its verdict that waits alone may have more
    max_step_score_tokens: int | None = None  # classification's part while chat has prompts to prefill; None: half
    max_pinned_prefixes: int = 4  # of each model

    def __post_init__(self) -> None:
        for name in ("max_running", "max_queue", "max_queued_tokens"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}={getattr(self, name)}: at least 1 is legal.")
        if self.max_step_tokens < self.max_running + 2:
            raise ValueError(
                f"max_step_tokens={self.max_step_tokens}: at least max_running + 2 = {self.max_running + 2} is legal, "
                "or decoding would leave no room for prompts."
            )
        if self.max_step_score_tokens is not None and self.max_step_score_tokens < 1:
            raise ValueError(f"max_step_score_tokens={self.max_step_score_tokens}: at least 1 is legal.")

    @property
    def score_share_tokens(self) -> int:
        """Classification's tokens in a step in which a chat prompt waits to be prefilled."""
        return self.max_step_tokens // 2 if self.max_step_score_tokens is None else self.max_step_score_tokens

    @property
    def max_text_tokens(self) -> int:
        """What one text in several windows may take of the queue's tokens, so that it leaves room for others."""
        return self.max_queued_tokens // 4

    @property
    def max_score_tail_tokens(self) -> int:
        """The last text token and its label tree go into one step; this much fits into every step."""
        return min(self.score_share_tokens, self.max_step_tokens - self.max_running - 1)
