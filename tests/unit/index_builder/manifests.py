"""A manifest for tests that care about files only."""

from __future__ import annotations

from server.retrieval.index.manifest import FORMAT, EncoderFacts, FileFacts, IndexFacts, Manifest, PassageFacts


def made_up_manifest(files: dict[str, FileFacts], recall: float) -> Manifest:
    return Manifest(
        format=FORMAT,
        name="made-up",
        version="20260101T000000Z",
        created="2026-01-01T00:00:00+00:00",
        fingerprint="f" * 64,
        source="made-up",
        encoder=EncoderFacts("e", "r", "mean", 2, 256, True, "probe", [1.0, 0.0]),
        passages=PassageFacts("en", 3, 3, "{text}", 1, 1, 1024),
        index=IndexFacts("flat", "Flat", "inner_product", "few", recall={"recall@10": recall}),
        files=files,
        score_floor=0.3,
    )
