"""Which group a request goes to, and what the loss of one costs."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest

from server import wire
from server.engine.engine import Engine, lost
from server.engine.replicas import Replicas
from server.errors import ErrorCode, ServiceError

SHAPE = wire.ModelShape(2048, 4096, "/models/chat")
Deliver = Callable[[wire.FromEngine], None]


class ScriptedGroup(Engine):
    """A group whose work the test ends."""

    def __init__(self) -> None:
        self.is_ready = True
        self.started: dict[str, Deliver] = {}
        self.cancelled: list[str] = []

    @property
    def ready(self) -> bool:
        return self.is_ready

    @property
    def welcome(self) -> wire.Welcome | None:
        return wire.Welcome({"chat": SHAPE}, 1, "bfloat16", 128) if self.is_ready else None

    @property
    def status(self) -> wire.Status | None:
        counts = dict.fromkeys(("num_running", "num_waiting", "num_waiting_tokens", "steps", "preemptions"), 3)
        tokens = dict.fromkeys(("generated_tokens", "prefilled_tokens", "cached_tokens"), 5)
        blocks = {name: {"chat": 10} for name in ("free_blocks", "total_blocks")}
        return wire.Status(**counts, **tokens, **blocks, step_seconds=0.5) if self.is_ready else None

    @property
    def status_age_s(self) -> float:
        return 0.1

    @property
    def groups(self) -> Sequence[Engine]:
        return (self,)

    def wait_ready(self, timeout_s: float) -> bool:
        return self.is_ready

    def start(self, request: wire.Generate | wire.Score, deliver: Deliver) -> None:
        if not self.is_ready:
            raise lost("the engine group is not ready")
        self.started[request.request_id] = deliver

    def cancel(self, request_id: str) -> None:
        self.cancelled.append(request_id)

    def close(self) -> None:
        self.is_ready = False

    def fail_all(self) -> None:
        self.is_ready = False
        for request_id, deliver in self.started.items():
            deliver(wire.Failed(request_id, ErrorCode.ENGINE_UNAVAILABLE, "lost"))


@pytest.fixture
def pair() -> tuple[ScriptedGroup, ScriptedGroup]:
    return ScriptedGroup(), ScriptedGroup()


def question(name: str, session: int, num_tokens: int = 300) -> wire.Generate:
    """A turn of a conversation: a longer prompt of one session begins like a shorter one."""
    return wire.Generate(name, tuple(session * 1000 + token for token in range(num_tokens)), wire.Sampling())


def verdict(name: str) -> wire.Score:
    return wire.Score(name, "input_moderation", (1,), (2,), (3,), ((4,),))


def finish(group: ScriptedGroup, name: str) -> None:
    group.started[name](wire.Finished(name, "stop", 3, 0, 2))


def test_new_conversations_go_where_less_is_under_way(pair) -> None:
    replicas, heard = Replicas(pair), []
    for number in range(4):
        replicas.start(question(f"r{number}", number), heard.append)
    assert [len(group.started) for group in pair] == [2, 2]


def test_a_conversation_stays_with_the_group_that_holds_its_keys_and_values(pair) -> None:
    replicas, heard = Replicas(pair), []
    replicas.start(question("a1", 1), heard.append)
    replicas.start(question("b1", 2), heard.append)
    (home,) = (group for group in pair if "b1" in group.started)
    finish(home, "b1")
    for number in range(2, 5):
        replicas.start(question(f"b{number}", 2, 300 + 100 * number), heard.append)
        assert f"b{number}" in home.started
        finish(home, f"b{number}")


def test_a_group_that_is_much_busier_gives_a_conversation_up(pair) -> None:
    replicas = Replicas(pair)
    replicas.start(question("a1", 1), lambda _: None)
    (home,) = (group for group in pair if "a1" in group.started)
    for number in range(20):
        replicas.start(question(f"x{number}", 1, 300 + number), lambda _: None)
    assert min(len(group.started) for group in pair) >= 6
    assert len(home.started) > 10


def test_verdicts_go_where_less_is_under_way_and_end_what_they_weigh(pair) -> None:
    replicas = Replicas(pair)
    for number in range(6):
        replicas.start(verdict(f"v{number}"), lambda _: None)
    assert [len(group.started) for group in pair] == [3, 3]
    for number in range(6):
        (group,) = (each for each in pair if f"v{number}" in each.started)
        group.started[f"v{number}"](wire.Scored(f"v{number}", (((0.0,),),), 3, 0))
    replicas.start(question("r", 1), lambda _: None)
    assert "r" in pair[0].started


def test_the_loss_of_a_group_fails_its_own_requests_and_the_other_takes_the_next(pair) -> None:
    replicas, heard = Replicas(pair), []
    replicas.start(question("a", 1), heard.append)
    replicas.start(question("b", 2), heard.append)
    (home,) = (group for group in pair if "a" in group.started)
    (other,) = (group for group in pair if "b" in group.started)
    home.fail_all()
    assert [message.request_id for message in heard] == ["a"]
    assert replicas.ready
    replicas.start(question("a2", 1, 400), heard.append)
    assert "a2" in other.started
    other.fail_all()
    assert not replicas.ready
    with pytest.raises(ServiceError, match="no engine group is ready"):
        replicas.start(question("c", 3), heard.append)


def test_a_request_is_cancelled_where_it_is(pair) -> None:
    replicas = Replicas(pair)
    replicas.start(question("a", 1), lambda _: None)
    replicas.cancel("a")
    replicas.cancel("nobody")
    (home,) = (group for group in pair if "a" in group.started)
    assert home.cancelled == ["a"]
    assert sum(len(group.cancelled) for group in pair) == 1


def test_what_is_told_of_the_groups_together_is_their_sum(pair) -> None:
    replicas = Replicas(pair)
    assert replicas.status is not None
    assert (replicas.status.num_running, replicas.status.total_blocks, replicas.status.step_seconds) == (
        6,
        {"chat": 20},
        0.5,
    )
    assert replicas.welcome is not None
    assert replicas.welcome.max_queue == 256
    pair[0].is_ready = False
    assert replicas.status.num_running == 3
