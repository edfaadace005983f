"""Several engine groups behind one front: a conversation stays where its keys and values are."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any

import msgspec

from server import wire
from server.engine.engine import Engine, lost

_STRIDE = 32  # tokens between two remembered beginnings of a prompt
_MOST_BEGINNINGS = 20_000  # a group: some hundreds of full conversations
_TURN_WEIGHT = 8  # of a reply, beside a verdict's 1, in what counts as a group's load
_PATIENCE = 4 * _TURN_WEIGHT  # how much busier a group may be that already knows a conversation


@dataclass
class _Group:
    """One group, what it works on, and which prompts it has seen lately."""

    engine: Engine
    working: dict[str, int] = field(default_factory=dict)  # weight by request id
    beginnings: OrderedDict[bytes, None] = field(default_factory=OrderedDict)

    @property
    def load(self) -> int:
        """How much work is under way."""
        return sum(self.working.values())

    def remember(self, beginnings: Sequence[bytes]) -> None:
        """Note that a prompt of these beginnings comes here."""
        for each in beginnings:
            self.beginnings[each] = None
            self.beginnings.move_to_end(each)
        while len(self.beginnings) > _MOST_BEGINNINGS:
            self.beginnings.popitem(last=False)

    def num_known(self, beginnings: Sequence[bytes]) -> int:
        """How many of a prompt's beginnings, the shortest first, this group has seen."""
        for number, each in enumerate(beginnings):
            if each not in self.beginnings:
                return number
        return len(beginnings)


class Replicas(Engine):
    """Hands each request to one of the groups that are ready.

    A reply goes to the group that has seen most of its prompt's beginning, whose cache holds those keys and values,
    unless that group is much busier than another; everything else goes where the least work is under way. The loss of
    a group fails its own requests alone.
    """

    def __init__(self, engines: Sequence[Engine]) -> None:
        self._groups = [_Group(engine) for engine in engines]
        self._lock = threading.Lock()

    @property
    def groups(self) -> Sequence[Engine]:
        """Each group by itself."""
        return [group.engine for group in self._groups]

    @property
    def ready(self) -> bool:
        """Whether any group is."""
        return any(engine.ready for engine in self.groups)

    @property
    def welcome(self) -> wire.Welcome | None:
        """What every group serves, and how long the queues are together."""
        welcomes = [welcome for engine in self.groups if (welcome := engine.welcome) is not None]
        if not welcomes:
            return None
        return msgspec.structs.replace(
            welcomes[0],
            max_queue=sum(welcome.max_queue for welcome in welcomes),
            max_running=sum(welcome.max_running for welcome in welcomes),
        )

    @property
    def status(self) -> wire.Status | None:
        """The sums over the groups; the duration of a step is the longest one's, and replies end as often as in all of
        them together.
        """
        found = [status for engine in self.groups if (status := engine.status) is not None]
        if not found:
            return None
        sums: dict[str, Any] = {name: _sum(name, found) for name in wire.Status.__struct_fields__}
        interval_s = max(status.reply_interval_s for status in found) / len(found)
        step_s = max(status.step_seconds for status in found)
        return wire.Status(**{**sums, "step_seconds": step_s, "reply_interval_s": interval_s})

    @property
    def status_age_s(self) -> float:
        """Of the group that spoke last."""
        return min(engine.status_age_s for engine in self.groups)

    def wait_ready(self, timeout_s: float) -> bool:
        """Wait for every group's welcome, for each so long."""
        return all(engine.wait_ready(timeout_s) for engine in self.groups)

    def start(self, request: wire.Generate | wire.Score, deliver: Callable[[wire.FromEngine], None]) -> None:
        """Send `request` to one group. Raises ServiceError when none is ready."""
        beginnings = _beginnings(request.prompt) if isinstance(request, wire.Generate) else []
        with self._lock:
            group = self._choose(beginnings)
            group.remember(beginnings)
            group.working[request.request_id] = _TURN_WEIGHT if isinstance(request, wire.Generate) else 1

        def deliver_and_count(message: wire.FromEngine) -> None:
            if isinstance(message, wire.Finished | wire.Scored | wire.Failed):
                self._ended(group, request.request_id)
            deliver(message)

        try:
            group.engine.start(request, deliver_and_count)
        except BaseException:
            self._ended(group, request.request_id)
            raise

    def cancel(self, request_id: str) -> None:
        """Stop a request wherever it is."""
        with self._lock:
            group = next((each for each in self._groups if each.working.pop(request_id, None)), None)
        if group is not None:
            group.engine.cancel(request_id)

    def close(self) -> None:
        """Close every group's socket."""
        for engine in self.groups:
            engine.close()

    def _choose(self, beginnings: Sequence[bytes]) -> _Group:
        ready = [group for group in self._groups if group.engine.ready]
        if not ready:
            raise lost("no engine group is ready")
        idlest = min(ready, key=lambda group: group.load)
        knows = max(ready, key=lambda group: (group.num_known(beginnings), -group.load))
        if knows.num_known(beginnings) == 0 or knows.load > idlest.load + _PATIENCE:
            return idlest
        return knows

    def _ended(self, group: _Group, request_id: str) -> None:
        with self._lock:
            group.working.pop(request_id, None)


def _beginnings(prompt: Sequence[int]) -> list[bytes]:
    """A hash of the prompt's first 32 tokens, of its first 64, and so on."""
    digest, found = blake2b(digest_size=16), []
    for end in range(_STRIDE, len(prompt) + 1, _STRIDE):
        digest.update(b"".join(token.to_bytes(8, "little") for token in prompt[end - _STRIDE : end]))
        found.append(digest.copy().digest())
    return found


def _sum(name: str, found: Sequence[wire.Status]) -> int | float | dict[str, int]:
    values = [getattr(status, name) for status in found]
    if isinstance(values[0], dict):
        return {key: sum(value.get(key, 0) for value in values) for key in values[0]}
    total: int | float = sum(values)
    return total
