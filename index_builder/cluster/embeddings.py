"""Passage shards encoded by the cluster's actors, one encoder each."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import ray
from ray.data import ActorPoolStrategy, TaskPoolStrategy

from index_builder.cluster.connection import num_workers, this_machine
from index_builder.vector_shards import embedded_texts, encoded_texts, read_shard, resolved_precision
from server.retrieval.encoder.encoder import Encoder, Precision

_READERS = 2  # shards read ahead
Row = dict[str, Any]


def cluster_precision(precision: Precision) -> Precision:
    """What an encoder of the cluster computes in when it is asked for `precision`."""
    on_gpus = _has_gpus()
    resolve = ray.remote(num_gpus=1 if on_gpus else 0, num_cpus=0 if on_gpus else 1)(resolved_precision)
    found: Precision = ray.get(resolve.remote(precision))
    return found


def encoded_shards(
    shards: dict[int, Path], encoder: str, precision: Precision, wanted_workers: int | None
) -> Iterator[tuple[int, bytes]]:
    """(number, its .npy file's content) of every passage shard; shards are read and returned here, so that the
    cluster's machines need no common file system.
    """
    on_gpus = _has_gpus()
    numbers = [{"number": number, "path": str(path)} for number, path in shards.items()]
    texts = ray.data.from_items(numbers, override_num_blocks=len(numbers)).map(
        _read_texts, compute=TaskPoolStrategy(size=_READERS), num_cpus=0, label_selector=this_machine()
    )
    encoded = texts.map(
        _EncodeTexts,  # type: ignore[arg-type]  # a class is legal: Ray makes one object of it an actor
        fn_constructor_args=(encoder, precision),
        compute=ActorPoolStrategy(size=min(num_workers(wanted_workers), len(numbers))),
        num_gpus=1 if on_gpus else None,
        num_cpus=None if on_gpus else 1,
    )
    for row in encoded.iter_rows():
        yield row["number"], row["file"]


def _has_gpus() -> bool:
    return bool(ray.cluster_resources().get("GPU", 0) > 0)


def _read_texts(row: Row) -> Row:
    return {"number": row["number"], "texts": embedded_texts(read_shard(Path(row["path"])))}


class _EncodeTexts:
    """One actor: loads the encoder once, then takes shard after shard."""

    def __init__(self, encoder: str, precision: Precision) -> None:
        self._encoder = Encoder(encoder, precision=precision)

    def __call__(self, row: Row) -> Row:
        return {"number": row["number"], "file": encoded_texts(list(row["texts"]), self._encoder)}
