"""What a conversation store promises, the same for every database."""

from __future__ import annotations

import os
import random
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
import pytest

from server.chat.records.turn_records import Feedback, Session, Source, Turn
from server.chat.store.heartbeat import DEAD_AFTER_S, Heartbeat
from server.chat.store.rows import Rows
from server.chat.store.store import SessionBusy, Store, next_turn
from server.errors import ErrorCode, ServiceError
from tests.aws.store_places import KINDS, ManualClock, Place, a_turn, fresh_id, place_url

MAX_TURNS = 50


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture(params=KINDS)
def place(
    request: pytest.FixtureRequest, tmp_path: Path, aws_credentials: None, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Place]:
    if request.param in ("moto", "dynalite"):
        monkeypatch.setenv("AWS_ENDPOINT_URL", request.getfixturevalue(f"{request.param}_url"))
    place = Place(place_url(request.param, tmp_path))
    yield place
    place.close()


@pytest.fixture
def store(place: Place, clock: ManualClock) -> Store:
    return place.open(clock)


@contextmanager
def a_database_of(place: Place) -> Iterator[Rows]:
    """What another process would see."""
    yield place.open(ManualClock())._rows


def say(store: Store, session: Session, owner: str = "front", **texts: str) -> Turn:
    turn = a_turn(next_turn(session), **texts)
    store.complete(store.claim(session, owner), turn)
    return turn


def converse(store: Store, session_id: str, num_turns: int, owner: str = "front") -> list[Turn]:
    turns = []
    for _ in range(num_turns):
        session = store.load(session_id, MAX_TURNS) or Session(session_id, 1234.5)
        turns.append(say(store, session, owner))
    return turns


def test_a_stored_turn_comes_back_to_the_letter(store: Store) -> None:
    session_id = fresh_id()
    turns = converse(store, session_id, 3)
    assert store.load(session_id, MAX_TURNS) == Session(session_id, 1234.5, tuple(turns), last=3)


def test_an_unknown_session_is_none_and_has_no_history(store: Store) -> None:
    session_id = fresh_id()
    assert store.load(session_id, MAX_TURNS) is None
    assert list(store.history(session_id)) == []
    assert store.delete(session_id) is False


def test_sessions_do_not_see_each_other(store: Store) -> None:
    first, second = fresh_id(), fresh_id()
    turns = converse(store, first, 2)
    converse(store, second, 1)
    loaded = store.load(first, MAX_TURNS)
    assert loaded is not None
    assert loaded.turns == tuple(turns)


def test_load_returns_the_newest_turns_and_still_counts_all(store: Store) -> None:
    session_id = fresh_id()
    turns = converse(store, session_id, 9)
    loaded = store.load(session_id, 4)
    assert loaded is not None
    assert loaded.turns == tuple(turns[-4:])
    assert next_turn(loaded) == 10


def test_history_goes_on_after_any_turn(store: Store) -> None:
    session_id = fresh_id()
    turns = converse(store, session_id, 4)
    for after in range(6):
        assert list(store.history(session_id, after)) == turns[after:]


def test_history_lists_every_turn_oldest_first(store: Store) -> None:
    session_id = fresh_id()
    turns = converse(store, session_id, 9)
    assert list(store.history(session_id)) == turns


def test_a_created_session_is_found_without_turns(store: Store, clock: ManualClock) -> None:
    session_id = fresh_id()
    created = store.create(session_id)
    assert store.load(session_id, MAX_TURNS) == created == Session(session_id, clock.now)
    assert say(store, created).turn == 1
    assert [turn.turn for turn in store.history(session_id)] == [1]


def test_a_session_is_created_once(store: Store) -> None:
    session_id = fresh_id()
    converse(store, session_id, 1)
    with pytest.raises(SessionBusy):
        store.create(session_id)


def test_a_second_request_on_a_busy_session_is_refused_by_every_front(
    place: Place, store: Store, clock: ManualClock
) -> None:
    session = Session(fresh_id(), clock.now)
    store.claim(session, "front")
    for other, owner in ((store, "front"), (store, "elsewhere"), (place.open(clock), "elsewhere")):
        with pytest.raises(SessionBusy) as caught:
            other.claim(session, owner)
        assert caught.value.code is ErrorCode.SESSION_BUSY
        assert caught.value.retry_after_s


def test_an_open_turn_is_not_seen(store: Store, clock: ManualClock) -> None:
    session = Session(fresh_id(), clock.now)
    store.claim(session, "front")
    assert store.load(session.session_id, MAX_TURNS) is None
    assert list(store.history(session.session_id)) == []


def test_a_turn_that_was_done_meanwhile_is_not_claimed_again(store: Store, clock: ManualClock) -> None:
    stale = Session(fresh_id(), clock.now)
    say(store, stale)
    with pytest.raises(SessionBusy):
        store.claim(stale, "front")


def test_a_released_turn_can_be_claimed_again(store: Store, clock: ManualClock) -> None:
    session = Session(fresh_id(), clock.now)
    claim = store.claim(session, "front")
    store.release(claim)
    store.release(claim)
    assert say(store, session, "elsewhere").turn == 1


def test_releasing_a_completed_turn_does_not_undo_it(store: Store, clock: ManualClock) -> None:
    session = Session(fresh_id(), clock.now)
    claim = store.claim(session, "front")
    store.complete(claim, a_turn(1))
    store.release(claim)
    assert [turn.turn for turn in store.history(session.session_id)] == [1]


def test_a_lock_left_by_a_dead_process_expires(place: Place, clock: ManualClock) -> None:
    session = Session(fresh_id(), clock.now)
    lost = place.open(clock, lock_s=60).claim(session, "dead")
    survivor = place.open(clock, lock_s=60)
    clock.now += 59
    with pytest.raises(SessionBusy):
        survivor.claim(session, "alive")
    clock.now += 1
    turn = say(survivor, session, "alive", text="survivor")
    with pytest.raises(SessionBusy):
        place.open(clock).complete(lost, a_turn(1))
    assert list(survivor.history(session.session_id)) == [turn]


def test_a_claim_past_its_lock_still_completes_when_nobody_took_it(store: Store, clock: ManualClock) -> None:
    session = Session(fresh_id(), clock.now)
    claim = store.claim(session, "front")
    clock.now += 500
    store.complete(claim, a_turn(1))
    assert [turn.turn for turn in store.history(session.session_id)] == [1]


def test_a_front_takes_its_own_dead_claims_over_at_once(place: Place, clock: ManualClock) -> None:
    session = Session(fresh_id(), clock.now)
    lost = place.open(clock).claim(session, "front")
    restarted = place.open(clock)
    turn = say(restarted, session, "front", text="restarted")
    with pytest.raises(SessionBusy):
        place.open(clock).complete(lost, a_turn(1))
    assert list(restarted.history(session.session_id)) == [turn]


@pytest.mark.parametrize("jump_s", [-86400.0, 500.0])
def test_a_clock_that_jumps_loses_doubles_and_reorders_no_turn(place: Place, clock: ManualClock, jump_s: float) -> None:
    store, session_id = place.open(clock, ttl_s=0), fresh_id()
    converse(store, session_id, 2)
    session = store.load(session_id, MAX_TURNS)
    assert session is not None
    claim = store.claim(session, "front")
    clock.now += jump_s
    store.complete(claim, a_turn(3))
    converse(store, session_id, 1)
    clock.now -= jump_s
    assert [turn.turn for turn in store.history(session_id)] == [1, 2, 3, 4]


def test_completing_the_same_turn_twice_is_one_turn(store: Store, clock: ManualClock) -> None:
    session = Session(fresh_id(), clock.now)
    claim = store.claim(session, "front")
    store.complete(claim, a_turn(1))
    store.complete(claim, a_turn(1))
    assert list(store.history(session.session_id)) == [a_turn(1)]


def test_a_deleted_session_is_gone_and_can_start_anew(store: Store) -> None:
    session_id = fresh_id()
    converse(store, session_id, 30)
    assert store.delete(session_id) is True
    assert store.load(session_id, MAX_TURNS) is None
    assert list(store.history(session_id)) == []
    assert store.delete(session_id) is False
    assert [turn.turn for turn in converse(store, session_id, 2)] == [1, 2]


def test_a_turn_in_flight_when_its_session_is_deleted_is_not_stored(store: Store) -> None:
    session_id = fresh_id()
    converse(store, session_id, 1)
    session = store.load(session_id, MAX_TURNS)
    assert session is not None
    claim = store.claim(session, "front")
    store.delete(session_id)
    with pytest.raises(SessionBusy):
        store.complete(claim, a_turn(2))
    assert store.load(session_id, MAX_TURNS) is None


def test_a_session_lives_as_long_as_its_newest_turn(store: Store, clock: ManualClock) -> None:
    session_id = fresh_id()
    converse(store, session_id, 2)
    clock.now += 600
    converse(store, session_id, 1)
    clock.now += 600  # the first two turns are 1200 s old, the third 600 s; a turn lives 1000 s
    session = store.load(session_id, MAX_TURNS)
    assert session is not None
    assert [turn.turn for turn in session.turns] == [3] == [turn.turn for turn in store.history(session_id)]
    assert next_turn(session) == 4


def test_an_expired_session_is_gone_and_its_id_starts_anew(store: Store, clock: ManualClock) -> None:
    session_id = fresh_id()
    converse(store, session_id, 4)
    clock.now += 1001
    assert list(store.history(session_id)) == []
    assert store.load(session_id, MAX_TURNS) is None
    assert store.delete(session_id) is False
    turns = converse(store, session_id, 2)
    assert [turn.turn for turn in turns] == [1, 2]
    assert list(store.history(session_id)) == turns


def test_without_a_time_to_live_nothing_expires(place: Place, clock: ManualClock) -> None:
    store = place.open(clock, ttl_s=0)
    session_id = fresh_id()
    converse(store, session_id, 1)
    clock.now += 1e9
    assert store.load(session_id, MAX_TURNS) is not None


def test_a_turn_too_large_for_a_row_is_refused_and_changes_nothing(store: Store, clock: ManualClock) -> None:
    session = Session(fresh_id(), clock.now)
    claim = store.claim(session, "front")
    with pytest.raises(ServiceError) as caught:
        store.complete(claim, a_turn(1, text="x" * 400_000))
    assert caught.value.code is ErrorCode.INVALID_FIELD
    assert "380000" in caught.value.message
    store.release(claim)
    assert store.load(session.session_id, MAX_TURNS) is None


def test_the_largest_turn_fits(store: Store, clock: ManualClock) -> None:
    session = Session(fresh_id(), clock.now)
    turn = say(store, session, text="x" * 379_000)
    assert list(store.history(session.session_id)) == [turn]


def test_a_history_of_several_megabytes_is_listed_whole(store: Store, clock: ManualClock) -> None:
    session_id = fresh_id()
    for _ in range(8):
        say(store, store.load(session_id, 1) or Session(session_id, clock.now), text="x" * 300_000)
    assert [turn.turn for turn in store.history(session_id)] == list(range(1, 9))
    newest = store.load(session_id, MAX_TURNS)
    assert newest is not None
    assert newest.turns[-1].turn == 8


def test_reopening_keeps_everything(place: Place, store: Store, clock: ManualClock) -> None:
    session_id = fresh_id()
    turns = converse(store, session_id, 3)
    assert list(place.open(clock).history(session_id)) == turns


NUM_CLIENTS = 16
# 13 turns a client make 208; the HTTP servers are slow, so they get that many only on request.
TURNS_EACH, TURNS_EACH_OVER_HTTP = 13, int(os.environ.get("STORE_TEST_TURNS_PER_CLIENT", "3"))


def test_sixteen_clients_on_one_session_lose_double_and_reorder_nothing(place: Place, clock: ManualClock) -> None:
    session_id = fresh_id()
    num_turns = TURNS_EACH_OVER_HTTP if place.url.startswith("dynamodb:") else TURNS_EACH
    stores = [place.open(clock) for _ in range(4)]
    acknowledged: list[Turn] = []
    failures: list[BaseException] = []

    def client(number: int) -> None:
        try:
            for count in range(num_turns):
                acknowledged.append(insist(stores[number % 4], session_id, f"{number}/{count}", f"front-{number % 4}"))
        except BaseException as error:  # noqa: BLE001 - the edge of a thread; the test reports it
            failures.append(error)

    threads = [threading.Thread(target=client, args=(number,)) for number in range(NUM_CLIENTS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=120)
    assert not failures
    stored = list(stores[0].history(session_id))
    assert [turn.turn for turn in stored] == list(range(1, NUM_CLIENTS * num_turns + 1))
    assert stored == sorted(acknowledged, key=lambda turn: turn.turn)
    assert len({turn.user.split()[0] for turn in stored}) == NUM_CLIENTS * num_turns


def insist(store: Store, session_id: str, text: str, owner: str) -> Turn:
    """Store one turn, coming back as often as the session is busy."""
    pause = threading.Event()
    while True:
        session = store.load(session_id, 1) or Session(session_id, 1.0)
        try:
            return say(store, session, owner, text=text)
        except SessionBusy:
            pause.wait(random.uniform(0.01, 0.05))


def test_a_turn_that_replaces_another_leaves_it_out_of_the_conversation(store: Store) -> None:
    session_id = fresh_id()
    turns = converse(store, session_id, 3)
    session = store.load(session_id, MAX_TURNS)
    assert session is not None
    other = msgspec.structs.replace(a_turn(4), follows=1)
    store.complete(store.claim(session, "front"), other)
    assert list(store.history(session_id)) == [turns[0], other]
    loaded = store.load(session_id, MAX_TURNS)
    assert loaded == Session(session_id, session.created_at, (turns[0], other), last=4)


def test_one_turn_is_erased_and_the_others_stay(store: Store) -> None:
    session_id = fresh_id()
    turns = converse(store, session_id, 3)
    assert store.turn(session_id, 2) == turns[1]
    assert store.delete_turn(session_id, 2) is True
    assert store.turn(session_id, 2) is store.turn(session_id, 9) is None
    assert store.delete_turn(session_id, 2) is store.delete_turn(session_id, 9) is False
    assert list(store.history(session_id)) == [turns[0], turns[2]]


def test_feedback_stands_with_its_turn_and_the_last_one_counts(store: Store) -> None:
    session_id = fresh_id()
    converse(store, session_id, 2)
    for rating in ("up", "down"):
        assert store.give_feedback(session_id, 1, Feedback(rating, "why")) is True
    assert [turn.feedback for turn in store.history(session_id)] == [Feedback("down", "why"), None]
    assert store.give_feedback(session_id, 3, Feedback("up")) is False


def test_an_owners_conversation_does_not_exist_for_others(store: Store) -> None:
    session_id = fresh_id()
    alice, bob = store.of("alice"), store.of("bob")
    turns = converse(alice, session_id, 2)
    for other in (bob, store, store.of("alic")):
        assert other.load(session_id, MAX_TURNS) is None
        assert list(other.history(session_id)) == []
        assert other.delete(session_id) is False
        assert other.delete_turn(session_id, 1) is False
        assert other.give_feedback(session_id, 1, Feedback("up")) is False
    other_turns = converse(bob, session_id, 1)
    assert list(alice.history(session_id)) == turns
    assert list(bob.history(session_id)) == other_turns
    assert bob.delete(session_id)
    assert list(alice.history(session_id)) == turns


def test_an_owner_has_a_list_of_conversations_the_newest_first(store: Store, clock: ManualClock) -> None:
    owner = fresh_id()
    mine = store.of(owner)
    ids = [fresh_id() for _ in range(60)]
    for session_id in ids:
        clock.now += 1
        session = Session(session_id, clock.now)
        say(mine, session, text=f"  What\nis {session_id}?")
        converse(store.of("another"), session_id, 1)
    found = list(mine.sessions())
    assert [each.session_id for each in found] == ids[::-1]
    assert found[0].title == f"What is {ids[-1]}? 1"
    assert (found[0].created_at, found[0].num_turns) == (clock.now, 1)
    assert [each.session_id for each in mine.sessions(before=found[29].place)] == ids[::-1][30:]
    converse(mine, ids[0], 1)
    assert [each.num_turns for each in list(mine.sessions())[-1:]] == [2]
    assert mine.delete(ids[0])
    assert [each.session_id for each in mine.sessions()] == ids[:0:-1]
    assert list(store.sessions()) == []


def test_a_list_has_no_conversation_whose_first_turn_never_ended(store: Store, clock: ManualClock) -> None:
    mine = store.of(fresh_id())
    released, open_one, created = fresh_id(), fresh_id(), fresh_id()
    mine.release(mine.claim(Session(released, clock.now), "front"))
    mine.claim(Session(open_one, clock.now), "front")
    mine.create(created)
    assert [(each.session_id, each.title, each.num_turns) for each in mine.sessions()] == [(created, "", 0)]


def test_a_conversation_stays_in_the_list_as_long_as_it_lives(place: Place, clock: ManualClock) -> None:
    store = place.open(clock)
    mine, session_id, rng = store.of(fresh_id()), fresh_id(), random.Random(5)
    for _ in range(40):
        session = mine.load(session_id, MAX_TURNS) or Session(session_id, clock.now)
        turn = msgspec.structs.replace(a_turn(next_turn(session)), created_at=clock.now)
        mine.complete(mine.claim(session, "front"), turn)
        store.claim(Session(fresh_id(), clock.now), "front")  # which also purges
        clock.now += rng.choice([1.0, 300.0, 990.0])
        assert [each.session_id for each in mine.sessions()] == [session_id]
    clock.now += 1001.0
    assert list(mine.sessions()) == []


def test_the_claim_of_a_front_that_died_is_taken_over_soon_and_that_of_a_live_one_is_not(
    place: Place, clock: ManualClock
) -> None:
    dead, alive = fresh_id(), fresh_id()
    with a_database_of(place) as rows:
        beats = {name: Heartbeat(rows, name, clock, session_lock_s=60.0) for name in (dead, alive)}
        for beat in beats.values():
            beat.beat()
        sessions = {name: Session(fresh_id(), clock.now) for name in beats}
        claims = {name: place.open(clock).claim(session, name) for name, session in sessions.items()}
        clock.now += DEAD_AFTER_S
        beats[alive].beat()
    another = place.open(clock)
    with pytest.raises(SessionBusy):
        another.claim(sessions[alive], "another")
    another.complete(another.claim(sessions[dead], "another"), a_turn(1))
    with pytest.raises(SessionBusy):  # it was only paused
        place.open(clock).complete(claims[dead], a_turn(1))


def test_the_claim_of_a_front_that_was_stopped_is_taken_over_at_once(place: Place, clock: ManualClock) -> None:
    stopped, session = fresh_id(), Session(fresh_id(), clock.now)
    store, another = place.open(clock), place.open(clock)
    store.live_as(stopped)
    store.claim(session, stopped)
    with pytest.raises(SessionBusy):
        another.claim(session, "another")
    store.close()
    another.claim(session, "another")


def test_a_turn_that_is_too_large_with_the_texts_of_its_sources_is_kept_without_them(
    store: Store, clock: ManualClock
) -> None:
    session = Session(fresh_id(), clock.now)
    sources = tuple(Source(f"t{number}", "x" * 30_000, 0.5, "d") for number in range(20))
    turn = msgspec.structs.replace(a_turn(1), sources=sources)
    store.complete(store.claim(session, "front"), turn)
    [kept] = store.history(session.session_id)
    assert (kept.reply, [source.title for source in kept.sources]) == (turn.reply, [each.title for each in sources])
    assert {source.text for source in kept.sources} == {""}


def test_a_summary_is_kept_with_its_turn_and_goes_with_any_turn_that_it_is_of(store: Store) -> None:
    session_id = fresh_id()
    converse(store, session_id, 3)
    session = store.load(session_id, MAX_TURNS)
    assert session is not None
    turn = a_turn(4)
    turn = msgspec.structs.replace(turn, usage=msgspec.structs.replace(turn.usage, dropped_turns=2))
    store.complete(store.claim(session, "front"), turn)
    assert store.give_summary(session_id, 4, "They met.", of=(1, 2, 9)) is False
    assert store.give_summary(session_id, 4, "They met.", of=(1, 2))
    loaded = store.load(session_id, MAX_TURNS)
    assert loaded is not None
    assert (loaded.summary, loaded.num_summarised) == ("They met.", 2)
    assert store.delete_turn(session_id, 3)
    assert [each.summary for each in store.history(session_id)][-1] == "They met."
    assert store.delete_turn(session_id, 2)
    assert [each.summary for each in store.history(session_id)][-1] == ""
