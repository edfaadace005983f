"""The process group: one process a rank, joined through a store of its own for every attempt."""

from __future__ import annotations

import os
import socket
from dataclasses import dataclass
from datetime import timedelta

import deepspeed
import torch
import torch.distributed as dist
from torch.distributed import HashStore, PrefixStore, Store, TCPStore  # type: ignore[attr-defined]

from server.engine.parallel.deepspeed_ops import load_all_reduce
from server.engine.parallel.placement import device_kind
from server.engine.parallel.transport import try_sum

LOOPBACK = "127.0.0.1"


@dataclass(frozen=True)
class Rank:
    """This process's place in the group."""

    rank: int
    world: int
    device: torch.device

    @property
    def leads(self) -> bool:
        """Whether this rank owns the queue, the scheduler and sampling."""
        return self.rank == 0


def pick_device(wanted: str, rank: int, world: int) -> torch.device:
    """The device of a rank: `wanted` is auto, cpu or cuda. All ranks of a group are on devices of one kind.

    Raises:
        RuntimeError: cuda was asked for and torch sees fewer devices than ranks.
    """
    if device_kind(wanted, world) == "cuda":
        return torch.device("cuda", rank)
    if wanted == "cuda":
        num_devices = torch.cuda.device_count()
        raise RuntimeError(f"OCK_DEVICE='cuda': {world} ranks need a CUDA device each, torch sees {num_devices}")
    return torch.device("cpu")


def join(
    rank: int, world: int, attempt: int, device: torch.device, timeout_s: float = 300.0, shared_memory: bool = True
) -> Rank:
    """Join the group over loopback and wait for every rank.

    MASTER_ADDR and MASTER_PORT name the store of more than one rank. Every attempt has a prefix of its own there, so
    that a restarted group never reads the addresses of the dead one. Without `shared_memory` ranks sum over sockets.

    Raises:
        TransportError: the ranks of GPUs have met and cannot sum.
    """
    # DeepSpeed's shared-memory all-reduce reads LOCAL_SIZE and crashes the process without it; with 0 it is left out,
    # and a rank alone needs no segment of 66 MiB.
    local_size = world if world > 1 and shared_memory else 0
    os.environ.update(RANK=str(rank), LOCAL_RANK=str(rank), WORLD_SIZE=str(world), LOCAL_SIZE=str(local_size))
    os.environ.setdefault("MASTER_ADDR", LOOPBACK)
    # By themselves both take the interface of the host's name, which others reach.
    os.environ.update(GLOO_SOCKET_IFNAME="lo", NCCL_SOCKET_IFNAME="lo")
    timeout = timedelta(seconds=timeout_s)
    server = open_store(rank, world, timeout)
    backend = "nccl" if device.type == "cuda" else "gloo"
    if device.type == "cuda":
        torch.cuda.set_device(device)
    store = PrefixStore(f"attempt_{attempt}", server)
    dist.init_process_group(backend, store=store, rank=rank, world_size=world, timeout=timeout)
    if device.type == "cuda" and world > 1:
        try_sum(device, world)
    load_all_reduce()
    deepspeed.init_distributed(dist_backend=backend, verbose=False)
    if not shared_memory:  # without segments DeepSpeed's operator would crash; at level 0 it takes the process group
        deepspeed.comm.comm.cdb.shm_vector_kernel_level = 0
    # Without a barrier a fast rank may read what a dead group left in the shared-memory segments.
    dist.barrier()
    return Rank(rank, world, device)


def open_store(rank: int, world: int, timeout: timedelta) -> Store:
    """What the ranks meet at: rank 0 listens on loopback alone, since the store asks nobody who they are.

    Raises:
        OSError: rank 0 cannot listen on MASTER_PORT.
    """
    if world == 1:
        return HashStore()
    address, port = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
    if rank:
        return TCPStore(address, port, world, is_master=False, timeout=timeout)
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind((LOOPBACK, port))
    listener.listen(world)
    # Without a descriptor of ours it would listen on every interface, whatever its address.
    return TCPStore(LOOPBACK, port, world, is_master=True, timeout=timeout, master_listen_fd=listener.detach())


def all_agree(rank: Rank, holds: bool) -> bool:
    """Whether `holds` on every rank. All ranks call this."""
    count = torch.tensor(int(holds), device=rank.device)
    if rank.world > 1:
        dist.all_reduce(count)
    return int(count) == rank.world
