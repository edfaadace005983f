"""The front under a real gunicorn: drain, reserved threads, disconnects, bodies without a length."""

from __future__ import annotations

import http.client
import json
import re
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from pathlib import Path

import httpx2
import pytest

from tests import ROOT
from tests.process.web.front_server import DEADLINE_S, Server, start_front, wait_until

StartServer = Callable[..., Server]


def stream(server: Server, question: str, stack: ExitStack) -> Iterator[str]:
    """The lines of a stream that has begun."""
    body = {"inputs": question, "stream": True}
    response = stack.enter_context(server.http.stream("POST", "/invocations", json=body))
    assert response.status_code == 200, response.read()
    return response.iter_lines()


def test_ping_and_refusals_are_answered_while_streams_hold_every_place(start_server: StartServer) -> None:
    server = start_server(threads="6")
    with ExitStack() as stack:
        streams = [stream(server, "wait done", stack) for _ in range(3)]
        assert [json.loads(next(lines)) for lines in streams] == [{"outputs": ["first "]}] * 3
        refused = server.http.post("/invocations", json={"inputs": "hello"})
        assert refused.status_code == 429
        assert refused.json()["error"]["code"] == "queue_full"
        assert refused.json()["error"]["retry_after"] > 0
        assert server.http.get("/ping").status_code == 200
        assert "ock_admitted 3.0" in server.http.get("/metrics").text
        server.note("done")
        assert [json.loads(list(lines)[-1])["finish_reason"] for lines in streams] == ["stop"] * 3
    wait_until(
        lambda: server.http.post("/invocations", json={"inputs": "hello"}).status_code == 200,
        "the places were not given back",
    )


POST = b"POST /invocations HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
BODY_HEAD = POST + b"Content-Length: 99\r\n\r\n{"
HALF_A_HEAD = b"GET /ping HTTP/1.1\r\nHost: localhost\r\nX-Slow"


def test_a_hundred_slow_and_half_open_clients_hold_neither_a_thread_nor_a_place(start_server: StartServer) -> None:
    server = start_server(threads="6")
    with ExitStack() as stack:
        for sent in (HALF_A_HEAD, BODY_HEAD, b"", b"GET /ping HTTP/1.1\r\nConnection: close\r\n\r\n") * 25:
            connection = stack.enter_context(socket.create_connection(("127.0.0.1", server.port)))
            connection.sendall(sent)
        for number in range(10):
            answer = server.http.post("/invocations", json={"inputs": f"hello {number}"})
            assert answer.json()["outputs"] == f"You said: hello {number}"
        assert "ock_admitted 0.0" in server.http.get("/metrics").text
        assert server.http.get("/ping").status_code == 200


def test_requests_sent_one_behind_the_other_are_answered_in_their_order(server: Server) -> None:
    body = json.dumps({"inputs": "hello"}).encode()
    ask = POST + b"Content-Length: %d\r\n\r\n%s"
    with socket.create_connection(("127.0.0.1", server.port), timeout=30) as connection:
        connection.sendall(b"GET /ping HTTP/1.1\r\nHost: localhost\r\n\r\n" + ask % (len(body), body))
        connection.sendall(b"GET /nowhere HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        answers = connection.makefile("rb").read()
    assert re.findall(rb"HTTP/1\.1 (\d+)", answers) == [b"200", b"200", b"404"]
    assert b"You said: hello" in answers


def test_a_client_that_waits_to_be_told_to_go_on_is_told_once(server: Server) -> None:
    body = json.dumps({"inputs": "hello"}).encode()
    with socket.create_connection(("127.0.0.1", server.port), timeout=30) as connection:
        connection.sendall(
            b"POST /invocations HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nConnection: close\r\n"
            b"Expect: 100-continue\r\nContent-Length: %d\r\n\r\n" % len(body)
        )
        assert connection.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"
        connection.sendall(body)
        answer = connection.makefile("rb").read()
    assert answer.startswith(b"HTTP/1.1 200 OK")
    assert b"100 Continue" not in answer


def test_a_client_that_leaves_a_stream_cancels_its_turn(server: Server) -> None:
    with ExitStack() as stack:
        assert json.loads(next(stream(server, "never-end", stack))) == {"outputs": ["first "]}
    server.wait_note("cancelled")
    wait_until(lambda: "ock_admitted 0.0" in server.http.get("/metrics").text, "the place was not given back")


def test_sighup_has_the_policy_read_again_by_the_same_front(server: Server) -> None:
    for times in (1, 2):
        server.process.send_signal(signal.SIGHUP)
        wait_until(lambda: server.log.read_text().count("fake:policy read again") == times, "the policy is not read")  # noqa: B023
    assert server.http.get("/ping").status_code == 200
    assert "Booting worker" not in server.log.read_text().split("policy read again")[-1]


def test_sigterm_refuses_new_work_and_finishes_what_is_running(start_server: StartServer) -> None:
    server = start_server(drain_timeout_s="28")
    with ExitStack() as stack:
        lines = stream(server, "wait done", stack)
        next(lines)
        server.process.send_signal(signal.SIGTERM)
        wait_until(lambda: server.http.get("/ping").status_code == 503, "the drain does not begin")
        refused = server.http.post("/invocations", json={"inputs": "hello"})
        assert refused.status_code == 503
        assert refused.json()["error"]["code"] == "shutting_down"
        server.note("done")
        assert json.loads(list(lines)[-1])["finish_reason"] == "stop"
    assert server.wait_exit() == 0
    assert "fake:closed" in server.log.read_text()


def test_after_the_drain_time_a_stream_ends_with_the_turn_s_own_partial_result(start_server: StartServer) -> None:
    server = start_server(drain_timeout_s="2")
    with ExitStack() as stack:
        lines = stream(server, "go-on", stack)
        next(lines)
        server.process.send_signal(signal.SIGTERM)
        *_, error, record = [json.loads(line) for line in lines]
    assert error["error"]["code"] == "server_shutdown"
    assert error["error"]["retryable"] is True
    assert record["finish_reason"] == "shutdown"
    assert server.wait_exit() == 0


def test_a_turn_that_ignores_the_end_is_cut_off_with_an_error_in_the_stream(start_server: StartServer) -> None:
    server = start_server(drain_timeout_s="2")
    with ExitStack() as stack:
        lines = stream(server, "never-end", stack)
        next(lines)
        server.process.send_signal(signal.SIGTERM)
        *_, error = [json.loads(line) for line in lines]
    assert error["error"]["code"] == "server_shutdown"
    server.wait_note("cancelled")
    assert server.wait_exit() == 0


def test_a_failure_in_the_middle_of_a_stream_is_its_last_line(server: Server) -> None:
    with ExitStack() as stack:
        lines = [json.loads(line) for line in stream(server, "fail", stack)]
    assert lines[0] == {"outputs": ["first "]}
    assert lines[1]["error"]["code"] == "engine_unavailable"
    assert lines[1]["error"]["retry_after"] == 5


def test_a_body_over_the_limit_is_refused_before_it_is_sent_whole(server: Server) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=20)
    connection.putrequest("POST", "/invocations")
    connection.putheader("Content-Type", "application/json")
    connection.putheader("Content-Length", "1000000000")
    connection.endheaders(b"{")
    refused = connection.getresponse()
    assert refused.status == 413
    assert "1000000000 bytes; at most 2048" in json.load(refused)["error"]["message"]
    connection.close()


def test_a_body_without_a_length_is_read_as_far_as_the_limit(server: Server) -> None:
    small = json.dumps({"inputs": "hello"}).encode()
    headers = {"Content-Type": "application/json"}

    def post(*chunks: bytes) -> httpx2.Response:
        return server.http.post("/invocations", content=iter(chunks), headers=headers)

    assert post(small[:5], small[5:]).json()["outputs"] == "You said: hello"
    padded = small[:-1] + b" " * (2048 - len(small)) + b"}"
    assert post(padded).status_code == 200
    too_long = post(padded + b" ")
    assert too_long.status_code == 413
    assert too_long.json()["error"]["code"] == "body_too_large"


def test_a_body_that_ends_early_is_refused_and_the_next_request_is_answered(server: Server) -> None:
    with socket.create_connection(("127.0.0.1", server.port)) as connection:
        connection.sendall(POST + b"Content-Length: 99\r\n\r\n{")
        connection.shutdown(socket.SHUT_WR)
        answer = connection.makefile("rb").read()
    assert b"HTTP/1.1 400" in answer
    assert b"ended before its announced length" in answer
    assert server.http.post("/invocations", json={"inputs": "hello"}).status_code == 200


def test_a_client_that_stops_reading_loses_its_turn(impatient_server: Server) -> None:
    with socket.create_connection(("127.0.0.1", impatient_server.port)) as connection:
        body = json.dumps({"inputs": "flood", "stream": True}).encode()
        connection.sendall(POST + b"Content-Length: %d\r\n\r\n%s" % (len(body), body))
        impatient_server.wait_note("cancelled")
    assert impatient_server.http.get("/ping").status_code == 200


def test_clients_that_do_not_read_a_plain_answer_hold_no_thread(start_server: StartServer) -> None:
    server = start_server("tests.process.web.patient_wsgi:app", threads="4")
    texts = [f"{number} {'x' * 260_000}" for number in range(22)]  # more than any socket holds
    body = json.dumps({"inputs": texts}).encode()
    with ExitStack() as stack:
        clients = [stack.enter_context(socket.create_connection(("127.0.0.1", server.port))) for _ in range(5)]
        for client in clients:
            client.sendall(POST + b"Content-Length: %d\r\n\r\n%s" % (len(body), body))
            assert select.select([client], [], [], DEADLINE_S)[0], "its answer has not begun"
        assert server.http.post("/invocations", json={"inputs": "hello"}).status_code == 200
        for _ in range(2):  # what is read late is whole, and the connection is good for another
            response = http.client.HTTPResponse(clients[0])
            response.begin()
            assert [each["outputs"] for each in json.load(response)] == [f"You said: {text}" for text in texts]
            clients[0].sendall(POST + b"Content-Length: %d\r\n\r\n%s" % (len(body), body))


@pytest.mark.parametrize("sent", [HALF_A_HEAD, BODY_HEAD])
@pytest.mark.parametrize("drips", [False, True])
def test_a_client_that_stops_or_drips_is_ended_with_408(impatient_server: Server, sent: bytes, drips: bool) -> None:
    with socket.create_connection(("127.0.0.1", impatient_server.port)) as connection:
        connection.sendall(sent)
        connection.settimeout(0.1 if drips else 30)
        answer, deadline = b"", time.monotonic() + 30
        while not answer:
            assert time.monotonic() < deadline, "it is still waited for"
            with suppress(TimeoutError):
                connection.sendall(b"x" if drips else b"")
                answer = connection.recv(10_000)
    assert answer.startswith(b"HTTP/1.1 408 ")
    error = json.loads(answer.partition(b"\r\n\r\n")[2])["error"]
    assert (error["code"], error["retryable"]) == ("request_timeout", True)
    assert 'code="request_timeout"' in impatient_server.http.get("/metrics").text


def test_a_connection_that_is_kept_has_the_whole_time_again_for_its_next_head(impatient_server: Server) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", impatient_server.port, timeout=30)
    for pause_s in (0.0, 1.5):
        time.sleep(pause_s)
        connection.request("GET", "/ping")
        answer = connection.getresponse()
        assert (answer.status, answer.read()) == (200, b"")
    connection.close()


def test_a_start_that_cannot_succeed_ends_with_one_sentence(tmp_path: Path) -> None:
    server = start_front(
        tmp_path, {"chat_model": str(tmp_path / "nowhere"), "store": "memory://"}, "server.web.wsgi:app"
    )
    assert server.wait_exit() != 0
    log = server.log.read_text()
    assert log.count("CRITICAL") == 1
    assert "OCK_CHAT_MODEL=" in log
    assert "Traceback" not in log
    server.end()


def test_a_wrong_setting_ends_the_start_with_one_sentence(tmp_path: Path) -> None:
    server = start_front(tmp_path, {"thread": "8"})
    assert server.wait_exit() != 0
    assert server.log.read_text().startswith("openchatkit: OCK_THREAD is not a setting; did you mean OCK_THREADS?")
    server.end()


def test_many_clients_at_once_each_get_their_own_answer(server: Server) -> None:

    def ask(number: int) -> str:
        return str(server.http.post("/invocations", json={"inputs": f"question {number}"}).json()["outputs"])

    with ThreadPoolExecutor(16) as pool:
        assert list(pool.map(ask, range(64))) == [f"You said: question {number}" for number in range(64)]


@pytest.mark.parametrize(
    ("head", "status", "code"),
    [
        (b"GET /" + b"x" * 8200 + b" HTTP/1.1\r\n\r\n", b"414", "uri_too_long"),
        (b"GET / HTTP/1.1\r\n" + b"A: " + b"x" * 9000 + b"\r\n\r\n", b"431", "headers_too_large"),
        (b"GET / HTTP/1.1\r\n" + b"A: x\r\n" * 200 + b"\r\n", b"431", "headers_too_large"),
        (b"nonsense\r\n\r\n", b"400", "invalid_request"),
    ],
)
def test_a_head_over_gunicorn_s_limits_is_refused_in_the_shape_of_all_errors(
    server: Server, head: bytes, status: bytes, code: str
) -> None:
    with socket.create_connection(("127.0.0.1", server.port), timeout=30) as connection:
        connection.sendall(head)
        answer = b""
        while piece := connection.recv(65536):
            answer += piece
    top, _, body = answer.partition(b"\r\n\r\n")
    assert top.split(b" ")[1] == status
    assert b"application/json" in top
    error = json.loads(body)["error"]
    assert (error["code"], error["retryable"]) == (code, False)


def test_the_front_alone_is_measured_before_an_engine_that_answers_at_once() -> None:
    command = [sys.executable, "-m", "container.front_bench", "--seconds", "0.3", "--clients", "2", "--pieces", "16"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["one_client"]["p50_ms"] > 0
    assert found["many_clients"]["turns_per_s"] > 0
    assert found["streams"]["pieces_per_s"] > 0
    assert found["machine"]["cpu"]
