from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.process.container.supervised import Supervised, is_running, wait_until

Supervise = Callable[..., Supervised]
EVERYONE = ("engine.0", "engine.1", "front")
RANKS = ("engine.0", "engine.1")


def segments() -> set[str]:
    return {path.name for path in Path("/dev/shm").glob("deepspeed_allreduce_buffer_*")}


def test_a_killed_rank_ends_its_group_and_the_next_attempt_becomes_ready(supervise: Supervise) -> None:
    before = segments()
    supervised = supervise()
    first = supervised.wait_for_pids(EVERYONE)
    supervised.wait_for(r"engine\.ready attempt=1")
    supervised.wait_for(r"engine\.1 .*about to wait")
    os.kill(first["engine.1"], signal.SIGKILL)
    supervised.wait_for(r"rank\.end name=engine\.1 how='was killed by SIGKILL")
    supervised.wait_for(r"engine\.1!.*about to wait")  # its last words
    second = supervised.wait_for_pids(RANKS)
    supervised.wait_for(r"engine\.ready attempt=2")
    assert not is_running(first["engine.0"])
    assert is_running(first["front"])
    assert set(second.values()).isdisjoint(first.values())
    supervised.process.send_signal(signal.SIGTERM)
    assert supervised.wait_for_end() == 0
    assert segments() <= before


def test_the_fourth_death_ends_everything_with_status_1(supervise: Supervise) -> None:
    supervised = supervise()
    for attempt in range(1, 5):
        supervised.wait_for(rf"engine\.start attempt={attempt}")
        pids = supervised.wait_for_pids(RANKS)
        supervised.wait_for(rf"engine\.ready attempt={attempt}")
        os.kill(pids["engine.0"], signal.SIGKILL)
    assert supervised.wait_for_end() == 1
    assert any("3 in 600 s are used up" in line for line in supervised.lines)


def test_a_rank_that_refuses_to_serve_is_not_started_again(supervise: Supervise) -> None:
    supervised = supervise(rank="refuse")
    assert supervised.wait_for_end() == 2
    assert any(line.startswith("engine.1!") and "golden prompt 3 differs" in line for line in supervised.lines)
    assert not any("attempt=2" in line for line in supervised.lines)


def test_a_refusal_counts_though_a_peer_died_before_it(supervise: Supervise) -> None:
    supervised = supervise(rank="part")
    assert supervised.wait_for_end() == 2
    assert not any("attempt=2" in line for line in supervised.lines)


def test_a_group_that_never_becomes_ready_is_started_again(supervise: Supervise) -> None:
    supervised = supervise(rank="mute", start_s=0.5)
    supervised.wait_for(r"engine\.end attempt=1 reason='it was not ready after OCK_START_TIMEOUT_S=0.5")
    supervised.wait_for(r"engine\.start attempt=2")


def test_the_third_group_in_a_row_that_never_becomes_ready_ends_everything(supervise: Supervise) -> None:
    supervised = supervise(rank="mute", start_s=0.3)
    assert supervised.wait_for_end() == 1
    assert any("no restart: 3 attempts in a row never became ready" in line for line in supervised.lines)
    assert not any("engine.start attempt=4" in line for line in supervised.lines)


def test_a_ready_group_that_falls_silent_is_started_again_and_one_that_beats_is_left_alone(
    supervise: Supervise, tmp_path: Path
) -> None:
    supervised = supervise(rank="faint", silence_s=3)
    first = supervised.wait_for_pids(EVERYONE)
    supervised.wait_for(r"engine\.end attempt=1 reason='rank 0 gave no sign of life for 3 s'")
    second = supervised.wait_for_pids(RANKS)
    supervised.wait_for(r"engine\.ready attempt=2")
    assert not any(is_running(first[name]) for name in RANKS)
    assert is_running(first["front"])
    ready, beat = (tmp_path / name for name in ("engine.ready", "engine.beat"))
    wait_until(
        lambda: beat.exists() and beat.stat().st_mtime > ready.stat().st_mtime + 5
    )  # longer than a silence may be
    assert all(is_running(pid) for pid in second.values())
    assert not any("engine.end attempt=2" in line for line in supervised.lines)


def test_a_rank_that_falls_silent_while_it_starts_is_started_again_and_one_that_beats_has_its_time(
    supervise: Supervise,
) -> None:
    supervised = supervise(rank="slow", silence_s=3)  # its first attempt's rank 1 is silent, the second one only slow
    supervised.wait_for(r"engine\.end attempt=1 reason='rank 1 gave no sign of life for 3 s while it started'")
    supervised.wait_for(r"engine\.ready attempt=2")
    assert not any("engine.end attempt=2" in line for line in supervised.lines)


def test_a_stopped_rank_0_is_killed_and_started_again(supervise: Supervise) -> None:
    supervised = supervise(silence_s=3)
    first = supervised.wait_for_pids(EVERYONE)
    supervised.wait_for(r"engine\.ready attempt=1")
    os.kill(first["engine.0"], signal.SIGSTOP)
    supervised.wait_for(r"engine\.end attempt=1 reason='rank 0 gave no sign of life")
    supervised.wait_for(r"engine\.ready attempt=2")
    assert not any(is_running(first[name]) for name in RANKS)


def test_the_end_of_the_front_is_the_end_of_everything(supervise: Supervise) -> None:
    supervised = supervise(rank="deaf")
    pids = supervised.wait_for_pids(EVERYONE)
    supervised.wait_for(r"engine\.ready")
    os.kill(pids["front"], signal.SIGKILL)
    assert supervised.wait_for_end() == 1
    assert not any(is_running(pid) for pid in pids.values())


def test_sigterm_drains_the_front_before_the_ranks_are_ended(supervise: Supervise) -> None:
    supervised = supervise(rank="deaf")
    pids = supervised.wait_for_pids(EVERYONE)
    supervised.wait_for(r"engine\.ready")
    supervised.process.send_signal(signal.SIGTERM)
    supervised.wait_for(r"front +\| front drains")
    supervised.wait_for(r"drain\.end .*finished=True")
    assert supervised.wait_for_end() == 0
    assert not any(is_running(pid) for pid in pids.values())


def test_a_front_that_does_not_drain_is_killed_at_the_limit(supervise: Supervise) -> None:
    supervised = supervise(front="stubborn", drain_s=0.5)
    pids = supervised.wait_for_pids(EVERYONE)
    supervised.wait_for(r"engine\.ready")
    supervised.process.send_signal(signal.SIGTERM)
    supervised.wait_for(r"drain\.end .*finished=False")
    assert supervised.wait_for_end() == 0
    assert not is_running(pids["front"])


def test_a_second_signal_ends_the_drain_at_once(supervise: Supervise) -> None:
    supervised = supervise(front="stubborn", drain_s=3600)
    supervised.wait_for_pids(("front",))
    supervised.wait_for(r"engine\.ready attempt=1")
    supervised.process.send_signal(signal.SIGINT)
    supervised.wait_for(r"front drains")
    supervised.process.send_signal(signal.SIGINT)
    assert supervised.wait_for_end() == 0


def test_sigterm_ends_a_group_that_is_not_ready_yet(supervise: Supervise) -> None:
    supervised = supervise(rank="mute")
    supervised.wait_for_pids(EVERYONE)
    supervised.process.send_signal(signal.SIGTERM)
    assert supervised.wait_for_end() == 0


def test_children_die_with_a_supervisor_that_is_killed(supervise: Supervise) -> None:
    supervised = supervise(rank="deaf", front="stubborn")
    pids = supervised.wait_for_pids(EVERYONE)
    supervised.process.kill()
    wait_until(lambda: not any(is_running(pid) for pid in pids.values()))


def test_orphans_are_reaped(supervise: Supervise) -> None:
    supervised = supervise(rank="orphan")
    supervised.wait_for(r"engine\.ready")
    pid = supervised.process.pid
    children = Path(f"/proc/{pid}/task/{pid}/children")
    # Two ranks and the front stay; the two orphans come to the supervisor, end, and must not stay as zombies.
    wait_until(lambda: len(children.read_text().split()) == 3)


def test_ranks_that_cannot_share_memory_start_again_over_sockets(supervise: Supervise) -> None:
    supervised = supervise(rank="shmless")
    supervised.wait_for("warning: the ranks cannot sum over shared memory; they do over sockets")
    supervised.wait_for(r"engine\.ready attempt=2")
    supervised.process.send_signal(signal.SIGTERM)
    assert supervised.wait_for_end() == 0


def test_a_signal_before_the_group_has_ever_served_ends_everything_at_once(supervise: Supervise) -> None:
    supervised = supervise(rank="mute", front="stubborn", drain_s=25)
    supervised.wait_for_pids(EVERYONE)
    began = time.monotonic()
    supervised.process.send_signal(signal.SIGTERM)
    assert supervised.wait_for_end() == 0
    assert time.monotonic() - began < 5


def test_of_two_groups_a_dead_one_is_started_again_and_the_other_is_left_alone(
    supervise: Supervise, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GROUPS", "a,b")
    supervised = supervise()
    pids = supervised.wait_for_pids(("a.0", "a.1", "b.0", "b.1", "front"))
    for _ in range(2):
        supervised.wait_for(r"engine\.ready attempt=1")
    os.kill(pids["a.1"], signal.SIGKILL)
    supervised.wait_for(r"engine\.ready attempt=2")
    assert not is_running(pids["a.0"])
    assert all(is_running(pids[name]) for name in ("b.0", "b.1", "front"))
    supervised.process.send_signal(signal.SIGTERM)
    assert supervised.wait_for_end() == 0


def test_a_group_that_cannot_be_brought_back_is_given_up_while_another_serves(
    supervise: Supervise, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GROUPS", "a,b")
    supervised = supervise()
    front = supervised.wait_for_pids(("front",))["front"]
    for attempt in range(1, 5):
        rank = int(supervised.wait_for(rf"a\.0 +\| pid=(\d+) attempt={attempt}")[1])
        supervised.wait_for(rf"engine\.ready attempt={attempt}")
        if attempt == 1:
            supervised.wait_for(r"engine\.ready attempt=1")
        os.kill(rank, signal.SIGKILL)
    supervised.wait_for("an engine group is given up; 1 go on")
    assert is_running(front)
