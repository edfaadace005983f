"""The one error of deploy that a person reads."""

from __future__ import annotations


class DeployError(Exception):
    """A sentence that names the field, file or request at fault, what was found and what is legal."""
