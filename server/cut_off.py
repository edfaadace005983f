"""An end to what waits for others: at a moment, however many single waits it is made of."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress


@contextmanager
def cut_off(deadline: float, end: Callable[[], object]) -> Iterator[None]:
    """Call `end` from another thread at `deadline` on the monotonic clock, unless the block has ended by then."""
    timer = threading.Timer(max(0.0, deadline - time.monotonic()), _quietly, (end,))
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def _quietly(end: Callable[[], object]) -> None:
    with suppress(OSError, ValueError, RuntimeError):  # a connection that has ended by itself
        end()
