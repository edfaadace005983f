"""Folders that are fetched from S3 once, verified, and shared by every process of a machine."""

from server.artifacts.error import ArtifactError
from server.artifacts.fetch import fetch_prefix
from server.artifacts.folder_lock import FolderLock

__all__ = ["ArtifactError", "FolderLock", "fetch_prefix"]
