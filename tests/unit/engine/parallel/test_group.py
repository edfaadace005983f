"""The ranks meet on loopback alone, and sum what their processor can sum."""

from __future__ import annotations

import socket
import threading
from datetime import timedelta
from pathlib import Path

import pytest
import torch
from torch.distributed import HashStore

from server.engine.parallel import all_reduce
from server.engine.parallel.all_reduce import AllReduce
from server.engine.parallel.group import open_store
from server.engine.parallel.processor import Level

SECONDS = timedelta(seconds=20)
_LISTENING, _LOOPBACK = "0A", "0100007F"


def listeners(port: int) -> set[str]:
    """The addresses, as the kernel writes them, on which somebody listens on `port`."""
    found = set()
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            address, _, state = line.split()[1:4]
            host, _, listening_on = address.partition(":")
            if state == _LISTENING and int(listening_on, 16) == port:
                found.add(host)
    return found


def test_the_store_of_a_group_listens_on_loopback_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    monkeypatch.setenv("MASTER_ADDR", "127.0.0.1")
    monkeypatch.setenv("MASTER_PORT", str(port))
    stores: list[object] = []
    leader = threading.Thread(target=lambda: stores.append(open_store(0, 2, SECONDS)))
    leader.start()
    follower = open_store(1, 2, SECONDS)
    follower.set("said", "by rank 1")
    leader.join()
    assert listeners(port) == {_LOOPBACK}
    assert stores[0].get("said") == b"by rank 1"  # type: ignore[attr-defined]


def test_a_rank_alone_listens_nowhere() -> None:
    assert isinstance(open_store(0, 1, SECONDS), HashStore)


@pytest.mark.parametrize(("level", "summed_as"), [(Level.AVX2, torch.float32), (Level.VNNI, torch.bfloat16)])
def test_without_avx512_half_precision_is_summed_as_float32(
    monkeypatch: pytest.MonkeyPatch, level: Level, summed_as: torch.dtype
) -> None:
    """DeepSpeed's operator would end the process there: its sums of bfloat16 are AVX-512 instructions."""
    seen = []

    def double(tensor: torch.Tensor) -> None:
        seen.append(tensor.dtype)
        tensor *= 2

    monkeypatch.setattr(all_reduce, "processor_level", lambda: level)
    monkeypatch.setattr(all_reduce.comm, "inference_all_reduce", double)
    reduce = AllReduce()
    reduce.world = 2
    tensor = torch.tensor([1.0, 2.5], dtype=torch.bfloat16)
    reduce(tensor)
    assert seen == [summed_as]
    assert tensor.tolist() == [2.0, 5.0]
