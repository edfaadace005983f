"""What goes wrong with a cluster."""

from __future__ import annotations


class ClusterError(RuntimeError):
    """Ray is not installed, its cluster is not reached, or a task failed; one sentence. Finished shards stay."""
