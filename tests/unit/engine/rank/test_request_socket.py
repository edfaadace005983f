"""The socket to clients: frames that are no messages are dropped, and a client that goes away is noticed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import zmq

from server import wire
from server.engine.rank.request_socket import RequestSocket
from server.wire import Generate, Hello, Sampling


@pytest.fixture
def address(tmp_path: Path) -> str:
    return f"ipc://{tmp_path}/engine.sock"


@pytest.fixture
def served(address: str) -> Iterator[RequestSocket]:
    socket = RequestSocket(address)
    yield socket
    socket.close()


@pytest.fixture
def client(served: RequestSocket, address: str) -> Iterator[zmq.Socket[bytes]]:
    context = zmq.Context()
    dealer = context.socket(zmq.DEALER)
    dealer.setsockopt(zmq.LINGER, 0)
    dealer.connect(address)
    yield dealer
    context.destroy(0)


def received(served: RequestSocket, number: int) -> list[wire.ToEngine]:
    messages: list[wire.ToEngine] = []
    while len(messages) < number and served.wait(5.0):
        messages.extend(message for _, message in served.receive())
    return messages


def test_messages_come_in_order_and_answers_go_to_who_asked(served: RequestSocket, client: zmq.Socket[bytes]) -> None:
    request = Generate("a", (1, 2), Sampling(max_new_tokens=3))
    client.send(wire.encode(Hello()))
    client.send(wire.encode(request))
    heard: list[tuple[bytes, wire.ToEngine]] = []
    while len(heard) < 2 and served.wait(5.0):
        heard.extend(served.receive())
    assert [message for _, message in heard] == [Hello(), request]
    assert served.send(heard[0][0], wire.Piece("a", "text", 1))
    assert client.poll(5000)
    assert wire.decode_from_engine(client.recv()) == wire.Piece("a", "text", 1)


@pytest.mark.parametrize(
    "frames",
    [
        [b"a", b"b"],
        [b""],
        [b"\xc1"],
        [b"\x81\xa4type\xa9generate\xff"],
        [wire.encode(Generate("a\ud7ff", (1,), Sampling())).replace("\ud7ff".encode(), b"\xff\xfe\xfd")],
        [wire.encode(Hello()), wire.encode(Hello())],
    ],
)
def test_a_frame_that_is_no_message_is_dropped_and_the_next_one_heard(
    served: RequestSocket, client: zmq.Socket[bytes], frames: list[bytes]
) -> None:
    client.send_multipart(frames)
    client.send(wire.encode(wire.Cancel("after")))
    assert received(served, 1) == [wire.Cancel("after")]


def test_a_client_that_has_gone_is_noticed(served: RequestSocket, client: zmq.Socket[bytes]) -> None:
    client.send(wire.encode(Hello()))
    assert served.wait(5.0)
    [(identity, _)] = served.receive()
    assert served.send(identity, wire.Piece("a", "text", 1))
    client.close(0)
    gone = False
    for _ in range(100):
        gone = gone or not served.send(identity, wire.Piece("a", "text", 1))
        served.wait(0.05)
    assert gone
    assert not served.send(b"nobody", wire.Piece("a", "text", 1))
