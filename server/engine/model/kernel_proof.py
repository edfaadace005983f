"""Kernels take effect only where they run and give what torch's plain operators give; ours and others' alike."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import ParamSpec

from torch import Tensor

log = logging.getLogger(__name__)

_TOLERANCE = 0.02  # of the norm: half precision rounds in other places, a wrong kernel is off by far more

Arguments = ParamSpec("Arguments")


def proven(
    kernel: Callable[Arguments, Tensor],
    reference: Callable[Arguments, Tensor],
    *arguments: Arguments.args,
    **named: Arguments.kwargs,
) -> bool:
    """Whether `kernel` gives what `reference` gives for these arguments; the log says why when it does not."""
    expected = reference(*arguments, **named).float()
    try:
        off = float((kernel(*arguments, **named).float() - expected).norm() / expected.norm())
    except Exception as error:  # noqa: BLE001 - whatever a compiler, its tools or the driver may raise
        log.warning("kernel.off name=%s why=%r: torch's operators are used", kernel.__name__, str(error))
        return False
    if not off <= _TOLERANCE:  # not a number is off, too
        log.warning("kernel.off name=%s why='off by %.3f': torch's operators are used", kernel.__name__, off)
        return False
    log.info("kernel.on name=%s off=%.5f", kernel.__name__, off)
    return True
