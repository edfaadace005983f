"""deploy bench --workload against a server whose delays are known."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from deploy.__main__ import main
from deploy.measure.bench import overload
from deploy.measure.bench.figures import Objective, figures, spread
from deploy.measure.bench.target import Answer
from deploy.measure.bench.workload import KINDS, conversations

FIRST_S, BETWEEN_S, PIECES = 0.06, 0.02, 5


class Slow(BaseHTTPRequestHandler):
    """Says five words, the first after 60 ms, each next after 20 ms; every question with "fail" is refused."""

    asked: list[dict[str, Any]]

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.asked.append(body)
        if "fail" in body["messages"][-1]["content"]:
            return self._send(429, b'{"error": {"code": "rate_limit_exceeded"}}')
        self.send_response(200)
        self.end_headers()
        for index in range(PIECES):
            time.sleep(BETWEEN_S if index else FIRST_S)
            self._event({"choices": [{"delta": {"content": "word "}}]})
            self.wfile.write(b": keep-alive\n\n")
        self._event({"choices": [{"delta": {}, "finish_reason": "stop"}]})
        self._event({"choices": [], "usage": {"prompt_tokens": 7, "completion_tokens": PIECES}})
        self.wfile.write(b"data: [DONE]\n\n")
        return None

    def do_GET(self) -> None:
        count = len(self.asked)
        lines = (
            f'ock_phase_seconds_sum{{phase="judge"}} {0.5 * count}\nock_phase_seconds_count{{phase="judge"}} {count}\n'
        )
        self._send(200, lines.encode())

    def _event(self, event: dict[str, Any]) -> None:
        self.wfile.write(b"data: " + json.dumps(event).encode() + b"\n\n")
        self.wfile.flush()

    def _send(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def slow() -> Iterator[tuple[str, list[dict[str, Any]]]]:
    handler = type("Handler", (Slow,), {"asked": []})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}", handler.asked  # type: ignore[attr-defined]
    server.shutdown()
    server.server_close()


def run(capsys: pytest.CaptureFixture[str], *flags: str) -> dict[str, Any]:
    assert main(["bench", *flags]) == 0
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


def test_closed_load_finds_the_delays_that_there_are(
    slow: tuple[str, list[dict[str, Any]]], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    url, asked = slow
    result = tmp_path / "a.json"
    flags = ["--url", f"{url}/v1", "--workload", "chat", "--clients", "1,2", "--duration", "0.8", "--warm-up", "0.1"]
    objective = ["--first-ms", "2000", "--price-per-hour", "3.6", "--html", str(tmp_path / "a.html")]
    found = run(capsys, *flags, *objective, "--png", str(tmp_path), "--json", str(result))
    whole_ms = 1000 * (FIRST_S + (PIECES - 1) * BETWEEN_S)
    for each in found["runs"]:
        assert 1000 * FIRST_S <= each["first_ms"]["p50"] < 1000 * FIRST_S + 60
        assert whole_ms <= each["whole_ms"]["p50"] < whole_ms + 100
        assert 1000 * BETWEEN_S <= each["between_ms"]["p50"] < 1000 * BETWEEN_S + 25
        assert each["goodput_per_s"] == each["requests_per_s"]
        assert each["errors"] == {}
        assert each["server_phases_mean_ms"] == {"judge": 500.0}
        per_turn = each["price_per_thousand_turns"] / 1000
        assert per_turn == pytest.approx(0.001 * each["seconds"] / each["requests"], rel=0.01)
    assert asked[0]["temperature"] == 0.6
    assert (asked[0]["top_k"], asked[0]["stream"]) == (40, True)
    assert "<svg" in (tmp_path / "a.html").read_text("utf-8")
    assert len(list(tmp_path.glob("*.png"))) == 3
    assert main(["bench", "compare", str(result), str(result)]) == 0
    assert "1.000" in capsys.readouterr().out


def test_open_load_comes_at_its_own_pace_and_errors_are_figures(
    slow: tuple[str, list[dict[str, Any]]], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    url, _ = slow
    questions = tmp_path / "questions.jsonl"
    questions.write_text('{"prompt": "fail"}\n{"messages": [{"role": "user", "content": "hello"}]}\n')
    flags = ["--url", url, "--workload", str(questions), "--rate", "30", "--duration", "1", "--warm-up", "0"]
    [found] = run(capsys, *flags, "--seed", "3")["runs"]
    assert 15 <= found["requests"] <= 45
    assert set(found["errors"]) == {"rate_limit_exceeded"}
    assert found["errors"]["rate_limit_exceeded"] == pytest.approx(found["requests"] / 2, abs=1)


def test_a_conversation_brings_its_own_history(
    slow: tuple[str, list[dict[str, Any]]], capsys: pytest.CaptureFixture[str]
) -> None:
    url, asked = slow
    flags = ["--url", url, "--workload", "multi-turn", "--clients", "1", "--duration", "0.1", "--warm-up", "0"]
    run(capsys, *flags)
    assert [len(body["messages"]) for body in asked[:4]] == [1, 3, 5, 7]
    assert asked[3]["messages"][1] == {"role": "assistant", "content": "word " * PIECES}


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_seed_asks_the_same(kind: str) -> None:
    one, other = conversations(kind, 7), conversations(kind, 7)
    assert [next(one) for _ in range(5)] == [next(other) for _ in range(5)]


def test_a_workload_that_is_none_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "--url", "http://127.0.0.1:9", "--workload", "chats"]) == 1
    assert "legal are chat, rag, multi-turn" in capsys.readouterr().err
    assert main(["bench"]) == 1
    assert "one of --url and --endpoint is needed" in capsys.readouterr().err


def test_an_answer_is_good_when_it_meets_all_of_the_objective() -> None:
    fast = Answer(0.0, 1.0, (0.2,), num_new_tokens=5, finish_reason="stop")
    late = Answer(0.0, 1.0, (0.6,), num_new_tokens=5, finish_reason="stop")
    lost = Answer(0.0, 0.1, error="cut_off")
    found = figures([fast, late, lost], 2.0, Objective(first_s=0.5), 0.0)
    assert (found["goodput_per_s"], found["requests_per_s"], found["errors"]) == (0.5, 1.0, {"cut_off": 1})
    assert spread([]) == {}
    assert spread([1.0, 2.0, 3.0, 4.0])["p50"] == 3.0


class Small(Slow):
    """Answers four at once, in 100 ms; more are refused."""

    protocol_version = "HTTP/1.1"
    places = threading.BoundedSemaphore(4)

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        if not self.places.acquire(blocking=False):
            return self._send(429, b'{"error": {"code": "rate_limit_exceeded"}}')
        with self.places_given_back():
            time.sleep(0.1)
        usage = b'"usage": {"prompt_tokens": 7, "completion_tokens": 3}'
        return self._send(200, b'{"choices": [{"finish_reason": "stop"}], ' + usage + b"}")

    @contextmanager
    def places_given_back(self) -> Iterator[None]:
        try:
            yield
        finally:
            self.places.release()

    def do_GET(self) -> None:
        self._send(200, b'process_resident_memory_bytes 1e8\nock_rank_resident_memory_bytes{rank="0"} 2e8\n')


@pytest.fixture
def small() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Small)
    server.request_queue_size = 128
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def test_overload_tells_answers_from_refusals_and_looks_at_memory(
    small: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(overload, "_CLIENTS", (2, 4))
    found = run(
        capsys, "overload", "--url", small, "--capacity-seconds", "0.6", "--duration", "1", "--factor", "4",
        "--max-new-tokens", "3",
    )  # fmt: skip
    *closed, at_capacity, over = found["runs"]
    assert [each["load"] for each in closed] == ["2 clients", "4 clients"]
    assert closed[1]["answered_per_s"] > closed[0]["answered_per_s"]
    assert over["offered_per_s"] > at_capacity["offered_per_s"]
    assert over["refused"] > 0
    assert over["failed"] == {}
    assert over["whole_ms"]["p50"] >= 100
    assert over["new_tokens_per_s"] == pytest.approx(3 * over["answered_per_s"], rel=0.01)
    assert set(over["resident_mb"]) == {300}
    assert found["memory_growth"] == 0
    assert over["generator_cores"] > 0
    assert 0 < found["goodput_of_best"] < 1.5


def test_slow_clients_beside_a_good_one_are_measured(small: str, capsys: pytest.CaptureFixture[str]) -> None:
    found = run(capsys, "slow-clients", "--url", small, "--slow", "4", "--questions", "3")
    assert found["slow_clients"] == 4
    assert found["alone_ms"]["p50"] >= 100
    assert found["delay_ms"]["p50"] == pytest.approx(found["beside_ms"]["p50"] - found["alone_ms"]["p50"], abs=0.2)
