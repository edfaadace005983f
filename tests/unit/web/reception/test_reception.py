"""Connections wait for their next request without a thread, and none for ever."""

from __future__ import annotations

import selectors
import socket
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest

from server.web.limits import table
from server.web.reception import reception as module
from server.web.reception.incoming import Incoming
from server.web.reception.outgoing import Outgoing
from server.web.reception.reception import Callbacks, Reception

HEAD = b"POST /search HTTP/1.1\r\nContent-Length: 4\r\n\r\n"


@dataclass(eq=False)
class Connection:
    """What gunicorn has of one."""

    sock: socket.socket

    def close(self) -> None:
        self.sock.close()


@dataclass
class Desk:
    """A reception whose clock the test sets, and what came of its connections."""

    poller: selectors.BaseSelector = field(default_factory=selectors.DefaultSelector)
    now: float = 1000.0
    handed: list[tuple[Connection, Incoming]] = field(default_factory=list)
    gone: list[Connection] = field(default_factory=list)
    refused: list[int] = field(default_factory=list)
    answer: bytes | None = None

    def __post_init__(self) -> None:
        callbacks = Callbacks(
            lambda connection, incoming: self.handed.append((connection, incoming)),
            self.gone.append,
            lambda status, _code: self.refused.append(int(status)),
            answer_at_once=lambda request: self.answer if request.startswith(b"POST") else None,
        )
        self.reception = Reception(self.poller, callbacks, max_body_bytes=10**6, idle_s=75.0)

    def connect(self) -> tuple[Connection, socket.socket]:
        ours, theirs = socket.socketpair()
        theirs.settimeout(20)
        connection = Connection(ours)
        self.reception.await_request(connection)
        return connection, theirs

    def turn(self) -> None:
        """One round of the worker's loop."""
        for key, _ in self.poller.select(0):
            key.data(key.fileobj)


@pytest.fixture
def desk(monkeypatch: pytest.MonkeyPatch) -> Iterator[Desk]:
    made = Desk()
    monkeypatch.setattr(module.time, "monotonic", lambda: made.now)
    yield made
    made.poller.close()


def test_a_request_is_handed_over_when_it_is_whole_and_with_what_came_behind_it(desk: Desk) -> None:
    connection, theirs = desk.connect()
    for piece in (HEAD[:9], HEAD[9:], b"bo"):
        theirs.sendall(piece)
        desk.turn()
        assert not desk.handed
    theirs.sendall(b"dyGET")
    desk.turn()
    [(handed, incoming)] = desk.handed
    assert handed is connection
    assert incoming.split() == (HEAD + b"body", b"GET")
    desk.reception.await_request(connection, b"GET /ping HTTP/1.1\r\n\r\n")
    assert desk.handed[1][1].target == b"/ping"


@pytest.mark.parametrize("sent", [HEAD[:9], HEAD + b"b"])
def test_a_request_that_drips_is_ended_with_408_and_says_what_it_lacked(desk: Desk, sent: bytes) -> None:
    connection, theirs = desk.connect()
    for byte in sent:
        theirs.sendall(bytes([byte]))
        desk.turn()
        desk.now += 0.1
    desk.reception.expire()
    assert desk.refused == []
    desk.now += table.LONGEST_HEAD_S
    desk.reception.expire()
    answer = theirs.recv(10_000)
    assert answer.startswith(b"HTTP/1.1 408 Request Timeout\r\n")
    assert b"request_timeout" in answer
    assert (b"head did not come" if len(sent) < len(HEAD) else b"body did not come") in answer
    assert desk.refused == [408]
    assert not desk.handed
    theirs.close()
    desk.turn()
    assert desk.gone == [connection]


def test_a_client_that_never_closes_is_closed_and_nobody_waits_for_it(desk: Desk) -> None:
    connection, theirs = desk.connect()
    desk.reception._forget(desk.reception._guests[connection.sock.fileno()])
    desk.reception.let_go(connection)
    assert theirs.recv(1) == b""
    theirs.sendall(b"more of a body that was refused")
    desk.turn()
    assert desk.gone == []
    desk.now += table.LONGEST_CLOSING_S + 1
    desk.reception.expire()
    assert desk.gone == [connection]


def test_an_idle_connection_is_closed_after_its_time_without_a_word(desk: Desk) -> None:
    connection, theirs = desk.connect()
    desk.now += 74
    desk.reception.expire()
    assert desk.gone == []
    desk.reception.expire(idle_s=2.0)
    assert desk.gone == [connection]
    assert theirs.recv(1) == b""


def test_the_time_of_a_request_begins_with_its_first_byte(desk: Desk) -> None:
    _, theirs = desk.connect()
    desk.now += 70
    theirs.sendall(HEAD)
    desk.turn()
    desk.now += table.LONGEST_HEAD_S - 1
    desk.reception.expire()
    theirs.sendall(b"body")
    desk.turn()
    assert len(desk.handed) == 1


def test_where_there_is_no_room_the_idle_go_first_and_then_the_slowest(desk: Desk) -> None:
    slow, slow_end = desk.connect()
    slow_end.sendall(HEAD)
    desk.turn()
    desk.now += 1
    idle, _idle_end = desk.connect()
    desk.now += 1
    fresh, fresh_end = desk.connect()
    fresh_end.sendall(HEAD)
    desk.turn()
    assert [desk.reception.make_room() for _ in range(4)] == [True, True, True, False]
    assert desk.gone == [idle, slow, fresh]


def test_where_memory_is_short_the_request_that_takes_longest_makes_room(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(table, "MAX_RECEIVED_BYTES", 900_000)
    large = b"POST / HTTP/1.1\r\nContent-Length: 600000\r\n\r\n" + b"x" * 400_000
    ends = []
    for _ in range(3):
        _connection, theirs = desk.connect()
        ends.append(theirs)
        desk.now += 1
        sent = 0
        while sent < len(large):
            sent += theirs.send(large[sent : sent + 65_536])
            desk.turn()
    assert desk.refused == [429]
    assert ends[0].recv(12) == b"HTTP/1.1 429"
    desk.reception.num_bytes_at_work = 900_000
    ends[2].sendall(b"x")
    desk.turn()
    assert desk.refused == [429, 429]


def test_a_client_that_waits_to_be_told_to_go_on_is_told(desk: Desk) -> None:
    _, theirs = desk.connect()
    theirs.sendall(b"POST / HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n")
    desk.turn()
    assert theirs.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"
    theirs.sendall(b"body")
    desk.turn()
    assert len(desk.handed) == 1


def test_a_client_that_closes_in_the_middle_of_its_body_is_answered(desk: Desk) -> None:
    _, theirs = desk.connect()
    theirs.sendall(HEAD + b"b")
    theirs.shutdown(socket.SHUT_WR)
    desk.turn()
    desk.turn()
    [(_, incoming)] = desk.handed
    assert incoming.is_cut


def test_what_needs_no_thread_is_answered_at_once_and_the_connection_goes_on(desk: Desk) -> None:
    connection, theirs = desk.connect()
    desk.answer = b"HTTP/1.1 429 Too Many Requests\r\n\r\n"
    for _ in range(3):
        theirs.sendall(HEAD + b"body")
        desk.turn()
        assert theirs.recv(100) == desk.answer
    assert not desk.handed
    theirs.sendall(HEAD.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n") + b"body")
    desk.turn()
    assert theirs.recv(100) == desk.answer
    assert theirs.recv(100) == b""
    theirs.close()
    desk.turn()
    assert desk.gone == [connection]


def test_requests_one_behind_the_other_and_large_ones_are_handed_over(desk: Desk) -> None:
    desk.answer = b"HTTP/1.1 429 Too Many Requests\r\n\r\n"
    _, theirs = desk.connect()
    theirs.sendall(HEAD + b"body" + HEAD)
    desk.turn()
    assert len(desk.handed) == 1
    _, theirs = desk.connect()
    theirs.sendall(b"POST / HTTP/1.1\r\nContent-Length: 70000\r\n\r\n" + b"x" * 70_000)
    desk.turn()
    assert len(desk.handed) == 2


def test_an_answer_that_a_client_has_no_room_for_is_sent_as_it_takes_it_and_the_connection_goes_on(desk: Desk) -> None:
    connection, theirs = desk.connect()
    theirs.sendall(HEAD + b"1234")
    desk.turn()
    outgoing = Outgoing(connection.sock, room=10**7)
    outgoing.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 5000000\r\n\r\n")
    outgoing.sendall(b"x" * 5_000_000)
    assert outgoing.unsent, "it did not wait"
    desk.reception.send_rest(connection, bytes(outgoing.unsent), rest=b"POST /s")
    desk.turn()
    received = bytearray()
    while len(received) - received.find(b"\r\n\r\n") - 4 < 5_000_000:
        received += theirs.recv(1 << 20)
        desk.turn()
    assert received.partition(b"\r\n\r\n")[2] == b"x" * 5_000_000
    assert desk.reception.num_bytes_unsent == 0
    theirs.sendall(HEAD.removeprefix(b"POST /s") + b"1234")
    desk.turn()
    assert len(desk.handed) == 2, "its next request, of which the beginning had come"


def test_a_client_that_does_not_take_its_answer_is_ended_at_its_time(desk: Desk) -> None:
    connection, theirs = desk.connect()
    theirs.sendall(HEAD + b"1234")
    desk.turn()
    desk.reception.send_rest(connection, b"x" * 5_000_000, rest=None)
    desk.turn()
    assert 0 < desk.reception.num_bytes_unsent < 5_000_000
    desk.now += table.LONGEST_WAIT_S
    desk.reception.expire()
    assert desk.gone == []
    desk.now += 5_000_000 / table.LEAST_BODY_BYTES_S + 1
    desk.reception.expire()
    assert desk.gone == [connection]
    assert desk.reception.num_bytes_unsent == 0


@pytest.mark.parametrize("head", [b"HTTP/1.1 200 OK\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 5000000\r\n\r\n"])
def test_a_stream_and_what_is_over_the_room_are_waited_for(head: bytes) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.settimeout(0.05)
        outgoing = Outgoing(ours, room=1000)
        outgoing.sendall(head)
        with pytest.raises(TimeoutError):
            outgoing.sendall(b"x" * 5_000_000)
        assert not outgoing.unsent, "half of it has gone: nothing may be sent behind that"
