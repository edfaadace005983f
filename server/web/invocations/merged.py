"""Several streams of events as one."""

from __future__ import annotations

import queue
import threading
from collections.abc import Generator, Iterator, Sequence
from typing import TypeVar

T = TypeVar("T")

_AHEAD = 64  # events that are made before somebody takes them
_LOOK_EVERY_S = 0.1


def merged(streams: Sequence[Iterator[T]]) -> Generator[tuple[int, T], None, None]:
    """The events of all `streams` as they come, each with its stream's number. Closing it closes the streams.

    Raises:
        Exception: what any of the streams raises; the others are closed then.
    """
    return _one(streams[0]) if len(streams) == 1 else _several(streams)


def _one(stream: Iterator[T]) -> Generator[tuple[int, T], None, None]:
    try:
        for event in stream:
            yield 0, event
    finally:
        _close(stream)


def _several(streams: Sequence[Iterator[T]]) -> Generator[tuple[int, T], None, None]:
    found: queue.Queue[tuple[int, T] | Exception | None] = queue.Queue(_AHEAD)
    over = threading.Event()
    for number, stream in enumerate(streams):
        threading.Thread(target=_pump, args=(number, stream, found, over), daemon=True, name="choice").start()
    try:
        left = len(streams)
        while left:
            event = found.get()
            if isinstance(event, Exception):
                raise event
            if event is None:
                left -= 1
            else:
                yield event
    finally:
        over.set()


def _pump(
    number: int, stream: Iterator[T], found: queue.Queue[tuple[int, T] | Exception | None], over: threading.Event
) -> None:
    """Put what `stream` gives into `found`, then None, or what it raises, until it is `over`."""
    try:
        for event in stream:
            if not _put(found, (number, event), over):
                return
        _put(found, None, over)
    except Exception as error:  # noqa: BLE001 - the edge of a thread; whoever reads raises it
        _put(found, error, over)
    finally:
        _close(stream)


def _put(
    found: queue.Queue[tuple[int, T] | Exception | None], event: tuple[int, T] | Exception | None, over: threading.Event
) -> bool:
    """Whether there was room for `event` before it was over."""
    while not over.is_set():
        try:
            found.put(event, timeout=_LOOK_EVERY_S)
        except queue.Full:
            continue
        return True
    return False


def _close(stream: Iterator[T]) -> None:
    close = getattr(stream, "close", None)
    if close is not None:
        close()
