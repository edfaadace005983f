"""A start that cannot succeed."""

from __future__ import annotations


class Refusal(Exception):
    """One sentence naming the setting or file, what was found and what is needed; the container exits with status 2."""
