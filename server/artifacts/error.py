"""Why a folder cannot be had."""

from __future__ import annotations


class ArtifactError(Exception):
    """A download that cannot be begun or finished; one sentence with the address, what was found and what is legal."""


class ChecksumError(ArtifactError):
    """A file came whole but is not the one that was published; fetching it again may help."""
