"""Clustered unit vectors in shards, as the embedding stage leaves them."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from index_builder.embeddings import VectorShards


def clustered(num_rows: int, dimension: int, seed: int = 3) -> np.ndarray:
    generator = np.random.default_rng(seed)
    centres = generator.standard_normal((max(8, num_rows // 100), dimension))
    rows = centres[generator.integers(len(centres), size=num_rows)]
    rows = rows + 0.7 * generator.standard_normal((num_rows, dimension))
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float16)


def write_shards(folder: Path, rows: np.ndarray, sizes: list[int]) -> VectorShards:
    assert sum(sizes) == len(rows)
    folder.mkdir(parents=True, exist_ok=True)
    paths, start = [], 0
    for number, size in enumerate(sizes):
        paths.append(folder / f"{number:06d}.npy")
        np.save(paths[-1], rows[start : start + size])
        start += size
    return VectorShards.of(paths)
