"""OCK_KERNEL_INJECT: DeepSpeed's kernels take effect if the golden check passes with them, and else they do not."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable

from server.engine.model.injection import Kernels
from server.engine.model.runner import ModelRunner
from server.engine.parallel.group import Rank, all_agree
from server.engine.weights.golden import GoldenError

log = logging.getLogger(__name__)


def try_injection(
    runners: Iterable[ModelRunner], kernels: Kernels | None, rank: Rank, check: Callable[[], None]
) -> bool:
    """Inject `kernels` into every model and keep them if `check` raises nothing on any rank. All ranks call this.

    `check` runs real steps and compares the answers with the golden data.
    """
    runners = list(runners)
    if not all_agree(rank, kernels is not None):
        log.warning("injection.off why='a rank has no such kernels': torch's operators are used")
        return False
    assert kernels is not None, "all ranks have them"
    for runner in runners:
        runner.inject(kernels)
    passes = _passes(check)
    if all_agree(rank, passes):
        log.info("injection.on kernels=layer_norm,bias_gelu")
        return True
    for runner in runners:
        runner.withdraw()
    log.warning("injection.off why='the golden check fails with it': torch's operators are used")
    return False


def _passes(check: Callable[[], None]) -> bool:
    try:
        check()
    except GoldenError as error:  # all ranks have the same logits; what fails on one alone must end the group
        log.warning("injection.failed why=%r", str(error))
        return False
    return True
