"""What a build has made and what it cost."""

from __future__ import annotations

from index_builder.progress import Progress
from server.retrieval.index.manifest import Manifest


def print_report(manifest: Manifest, progress: Progress, address: str) -> None:
    """Counts, what was left out by cause, time and memory of every stage that ran, and the size of the index."""
    passages, index = manifest.passages, manifest.index
    size = sum(facts.num_bytes for facts in manifest.files.values())
    print(f"index {manifest.label} at {address}")
    print(f"  documents {passages.num_documents}, passages {passages.num_passages}, {size / 2**20:.1f} MiB")
    for cause, count in sorted(passages.skipped.items()):
        print(f"  left out: {count} x {cause}")
    print(f"  {index.factory}: {index.reason}")
    print(f"  recall {index.recall}, latency {index.latency_ms}, breadth {index.breadth}")
    for stage, cost in progress.costs.items():
        print(
            f"  {stage:<9} {cost.seconds:>9.1f} s   peak memory {cost.peak_mib:.0f} MiB, "
            f"largest child so far {cost.peak_children_mib:.0f} MiB"
        )
    print(f"  peak memory of all, {progress.peak_mib:.0f} MiB")
