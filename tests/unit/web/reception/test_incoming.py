"""A request is whole exactly when its last byte is there, however its bytes come; gunicorn is the reference."""

from __future__ import annotations

import io
import itertools
from http import HTTPStatus

import pytest
from gunicorn.config import Config
from gunicorn.http.body import ChunkedReader, LengthReader
from gunicorn.http.parser import RequestParser
from hypothesis import given
from hypothesis import strategies as st

from server.web.limits import table
from server.web.reception.front_worker import HeldRequest
from server.web.reception.incoming import Incoming, Unacceptable, framing

HEAD = b"POST /search?x=1 HTTP/1.1\r\nHost: x\r\n"
NEXT = b"GET /ping HTTP/1.1\r\n\r\n"
MOST = 4096


def chunked(pieces: list[bytes], extension: bytes, trailer: bytes) -> bytes:
    framed = b"".join(b"%x%s\r\n%s\r\n" % (len(piece), extension, piece) for piece in pieces)
    return HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + framed + b"0\r\n" + trailer + b"\r\n"


def with_length(body: bytes) -> bytes:
    return HEAD + b"content-length: %d\r\n\r\n" % len(body) + body


requests = st.one_of(
    st.binary(max_size=300).map(with_length),
    st.builds(
        chunked,
        st.lists(st.binary(min_size=1, max_size=100), max_size=6),
        st.sampled_from([b"", b";a=b", b" ;x"]),
        st.sampled_from([b"", b"X-Sum: 1\r\n"]),
    ),
    st.just(HEAD + b"\r\n"),
)


def feed(data: bytes, cuts: list[int], most: int = MOST) -> tuple[Incoming, list[bool]]:
    incoming, whole = Incoming(0.0, most), []
    places = sorted({min(cut, len(data)) for cut in cuts} | {0, len(data)})
    for start, end in itertools.pairwise(places):
        whole.append(incoming.take(data[start:end]))
        if whole[-1]:
            break
    return incoming, whole


@given(requests, st.lists(st.integers(0, 700), max_size=8))
def test_a_request_in_any_pieces_is_whole_at_its_last_byte_and_not_before(request: bytes, cuts: list[int]) -> None:
    incoming, whole = feed(request, cuts)
    assert whole[-1]
    assert not any(whole[:-1])
    assert not incoming.is_cut
    assert incoming.split() == (request, b"")
    shorter, never = feed(request[:-1], cuts)
    assert not any(never)
    assert not shorter.is_cut


@given(requests, st.lists(st.integers(0, 700), max_size=8))
def test_what_comes_behind_a_request_is_kept_for_the_next_one(request: bytes, cuts: list[int]) -> None:
    incoming, _ = feed(request + NEXT, cuts)
    taken, rest = incoming.split()
    assert taken == request
    assert NEXT.startswith(rest)


@given(requests)
def test_gunicorn_reads_the_same_request_from_the_same_bytes_and_uses_them_up(request: bytes) -> None:
    incoming, _ = feed(request + NEXT, [])
    held = HeldRequest()
    parser = RequestParser(Config(), [], ("127.0.0.1", 1))
    parser.unreader = held
    held.hold(incoming.split()[0])
    parsed = next(parser)
    found = framing(request.partition(b"\r\n\r\n")[0])
    if isinstance(parsed.body.reader, LengthReader):
        assert parsed.body.reader.length == found.length
    else:
        assert isinstance(parsed.body.reader, ChunkedReader)
        assert found.length is None
    body = io.BytesIO(parsed.body.read())
    assert parser.finish_body()
    assert held.is_used_up
    if found.length is not None:
        assert body.getvalue() == request.partition(b"\r\n\r\n")[2]


def test_empty_lines_before_a_request_do_not_count() -> None:
    incoming, whole = feed(b"\r\n\r\n\r\n" + NEXT, [3, 5])
    assert whole[-1]
    assert incoming.split() == (NEXT, b"")
    assert incoming.target == b"/ping"


@pytest.mark.parametrize(
    "fields",
    [
        b"Content-Length: 5\r\nContent-Length: 5",
        b"Content-Length: -5",
        b"Content-Length: 5, 5",
        b"Content-Length: 5\r\nTransfer-Encoding: chunked",
        b"Transfer-Encoding: chunked, gzip",
        b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
    ],
)
def test_a_body_whose_end_is_in_doubt_is_handed_over_to_be_refused_and_the_connection_is_not_used_again(
    fields: bytes,
) -> None:
    incoming, whole = feed(HEAD + fields + b"\r\n\r\nhello", [])
    assert whole == [True]
    assert incoming.is_cut


def test_a_body_over_the_limit_is_not_waited_for() -> None:
    incoming, whole = feed(HEAD + b"Content-Length: %d\r\n\r\n{" % (MOST + 1), [])
    assert whole == [True]
    assert incoming.is_cut
    _exactly, whole = feed(HEAD + b"Content-Length: %d\r\n\r\n{" % MOST, [])
    assert whole == [False]


def test_a_body_in_chunks_is_read_as_far_as_shows_that_it_is_over_the_limit() -> None:
    start = HEAD + b"Transfer-Encoding: chunked\r\n\r\nfffff\r\n"
    incoming, whole = feed(start + b"x" * (MOST + table.BODY_READ_AHEAD_BYTES + 1), [])
    assert whole == [True]
    assert incoming.is_cut
    _, whole = feed(start + b"x" * MOST, [])
    assert whole == [False]


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"x" * (table.MAX_HEAD_BYTES + 1), HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE),
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + b"1\r\nx\r\n" * (table.MAX_CHUNKS + 1),
         HTTPStatus.REQUEST_ENTITY_TOO_LARGE),
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + (b"1;" + b"x" * 4000 + b"\r\nx\r\n") * 20,
         HTTPStatus.REQUEST_ENTITY_TOO_LARGE),
    ],
)  # fmt: skip
def test_what_is_all_frame_and_no_content_is_refused(data: bytes, status: HTTPStatus) -> None:
    with pytest.raises(Unacceptable) as caught:
        feed(data, [], most=1_000_000 if len(data) > 200_000 else MOST)
    assert caught.value.status is status


def test_a_head_of_exactly_the_most_bytes_is_taken() -> None:
    head = b"GET / HTTP/1.1\r\nA: ".ljust(table.MAX_HEAD_BYTES, b"x") + b"\r\n\r\n"
    assert feed(head, [])[1] == [True]


def test_a_drip_has_no_longer_than_silence_and_a_steady_body_as_long_as_it_needs() -> None:
    incoming = Incoming(100.0, 10**7)
    incoming.take(HEAD)
    assert incoming.due_at == 100.0 + table.LONGEST_HEAD_S
    incoming.take(b"Content-Length: 9000000\r\n\r\n")
    assert incoming.due_at == 100.0 + table.LONGEST_HEAD_S
    incoming.take(b"x" * table.LEAST_BODY_BYTES_S * 3)
    assert incoming.due_at == 100.0 + table.LONGEST_HEAD_S + 3


def test_a_request_that_was_read_is_not_kept_for_as_long_as_its_connection() -> None:
    held = HeldRequest()
    held.hold(b"x" * 100_000)
    while held.chunk(30_000):
        continue
    assert held.is_used_up
    assert held._held.obj == b""
