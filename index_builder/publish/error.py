"""What goes wrong with a publication."""

from __future__ import annotations


class PublishError(ValueError):
    """An index that must not, or cannot, be published; the sentence names it, what was found and what is legal."""
