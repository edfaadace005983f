"""What sums between ranks travel over: shared memory where it works, else sockets; tried before anything is loaded."""

from __future__ import annotations

import os
import sys
import threading

import torch
from torch import distributed as dist

from server.engine.exit_status import NO_SHARED_MEMORY

_PROBE_VALUES = 6144  # a token's hidden state in the 20B model
_PATIENCE_S = 60.0


class TransportError(RuntimeError):
    """The ranks cannot sum over the transport that was tried."""


def try_sum(device: torch.device, world: int, patience_s: float = _PATIENCE_S) -> None:
    """Sum a small tensor over all ranks of the process group. NCCL makes its connections here, and fails here.

    A sum that does not end within `patience_s` ends the process with NO_SHARED_MEMORY: a peer may have failed.

    Raises:
        TransportError: it failed, or gave another sum.
    """
    silence = threading.Timer(patience_s, _end_process, [patience_s])
    silence.daemon = True
    silence.start()
    try:
        total = torch.ones(_PROBE_VALUES, device=device)
        dist.all_reduce(total)
        found = total.cpu()
    except RuntimeError as error:
        raise TransportError(f"the ranks cannot sum: {str(error).strip().partition(chr(10))[0]}") from error
    finally:
        silence.cancel()
    if not bool((found == world).all()):
        raise TransportError(f"the ranks' sum of ones is {float(found[0]):g}, not {world}")


def _end_process(patience_s: float) -> None:
    sys.stderr.write(f"the ranks' first sum did not end within {patience_s:g} s\n")
    sys.stderr.flush()
    os._exit(NO_SHARED_MEMORY)
