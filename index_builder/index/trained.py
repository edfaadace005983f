"""The empty index that every shard is added to: its lists and codes are learnt from a sample."""

from __future__ import annotations

from pathlib import Path

import faiss

from index_builder.index.choice import IndexChoice, sample_rows
from index_builder.index.vector_shards import VectorShards
from index_builder.work_folder import write_whole

_SAMPLE_PER_LIST = 64
_SEED = 1234


def train_index(choice: IndexChoice, vectors: VectorShards, path: Path) -> int:
    """Train an inverted file on a sample and write it, empty, to `path`; how many vectors it was trained on."""
    index = faiss.index_factory(vectors.dimension, choice.factory, faiss.METRIC_INNER_PRODUCT)
    inverted = faiss.extract_index_ivf(index)
    inverted.cp.seed = _SEED
    inverted.cp.niter = 10
    # Orders codes for Hamming search, which is not used, and takes most of the training time.
    faiss.downcast_index(inverted).do_polysemous_training = False
    sample = vectors.sample(min(_SAMPLE_PER_LIST * inverted.nlist, sample_rows(vectors.num_rows, vectors.dimension)))
    inverted.cp.max_points_per_centroid = max(1, len(sample) // inverted.nlist + 1)
    if faiss.get_num_gpus() > 0:
        on_gpus = faiss.index_cpu_to_all_gpus(faiss.IndexFlatIP(vectors.dimension))
        inverted.clustering_index = on_gpus  # which does not keep it alive: the name does, until the training has ended
    index.train(sample)
    write_whole(path, lambda draft: faiss.write_index(index, str(draft)))
    return len(sample)
