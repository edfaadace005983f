"""The front alone: the real gunicorn, turns and store, before an engine that answers at once.

    python -m container.front_bench --seconds 5 --clients 16

One client's plain turns one after another (p50), the turns a second of many, and the streamed pieces a second of eight,
each with the processor time that the front took for it, which other work on the machine changes less. Prints JSON.
Load, stand-in and front share the machine, so two cores are the least that says something.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shlex
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from server import wire
from server.engine.rank.request_socket import RequestSocket
from server.machine import machine_facts
from server.ports import free_loopback_port

ROOT = Path(__file__).parents[1]
_CHAT_MODEL = ROOT / "container" / "demo" / "chat"
_WINDOW, _VOCABULARY = 2048, 2000
_WORD = "word "
_STREAM_CLIENTS = 8
_START_S, _STATUS_S = 60.0, 0.5
_WARM_UP_S = 1.0


class AtOnce(threading.Thread):
    """An engine group of no model: every reply is `max_new_tokens` words, each a piece, all of them at once."""

    def __init__(self, run_dir: Path) -> None:
        super().__init__(daemon=True)
        self._socket = RequestSocket(f"ipc://{run_dir}/engine.sock")
        self._clients: set[bytes] = set()

    def run(self) -> None:
        """Answer for as long as the process lives."""
        told_at = 0.0
        while True:
            self._socket.wait(_STATUS_S)
            for client, message in self._socket.receive():
                self._answer(client, message)
            if time.monotonic() > told_at + _STATUS_S:
                told_at = time.monotonic()
                for client in self._clients:
                    self._socket.send(client, _status())

    def _answer(self, client: bytes, message: wire.ToEngine) -> None:
        if isinstance(message, wire.Hello):
            self._clients.add(client)
            shape = wire.ModelShape(_WINDOW, _VOCABULARY, str(_CHAT_MODEL))
            self._socket.send(client, wire.Welcome({wire.CHAT: shape}, 1, "bfloat16", max_queue=128))
            self._socket.send(client, _status())
        elif isinstance(message, wire.Generate):
            num_words = message.sampling.max_new_tokens
            for number in range(1, num_words + 1):
                self._socket.send(client, wire.Piece(message.request_id, _WORD, number))
            ended = wire.Finished(message.request_id, "length", len(message.prompt), 0, num_words)
            self._socket.send(client, ended)


def _status() -> wire.Status:
    return wire.Status(0, 0, 0, 1, {}, {}, preemptions=0, generated_tokens=0, prefilled_tokens=0, cached_tokens=0,
                       step_seconds=0.0)  # fmt: skip


@dataclass(frozen=True)
class Load:
    """One kind of request, again and again."""

    port: int
    path: str
    body: dict[str, Any]

    def ask(self, connection: socket.socket) -> bytes:
        """One answer, whole, by a connection that stays."""
        connection.sendall(self._request())
        answer = b""
        while not _is_whole(answer):
            received = connection.recv(1 << 20)
            if not received:
                raise SystemExit(f"front_bench: the front closed the connection after {answer[:200]!r}")
            answer += received
        if not answer.startswith(b"HTTP/1.1 200"):
            raise SystemExit(f"front_bench: {answer[:400].decode('utf-8', 'replace')}")
        return answer

    def seconds(self, num_clients: int, seconds: float) -> tuple[list[float], float]:
        """How long each answer took, of `num_clients` at once for `seconds`, and how long that was in all."""
        taken: list[float] = []
        began = time.perf_counter()
        clients = [threading.Thread(target=self._client, args=(began + seconds, taken)) for _ in range(num_clients)]
        for client in clients:
            client.start()
        for client in clients:
            client.join()
        return taken, time.perf_counter() - began

    def _client(self, until: float, taken: list[float]) -> None:
        with socket.create_connection(("127.0.0.1", self.port)) as connection:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            while (began := time.perf_counter()) < until:
                self.ask(connection)
                taken.append(time.perf_counter() - began)

    def _request(self) -> bytes:
        body = json.dumps(self.body).encode()
        head = f"POST {self.path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        return f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body


def _is_whole(answer: bytes) -> bool:
    head, blank, body = answer.partition(b"\r\n\r\n")
    if not blank:
        return False
    if b"chunked" in head.lower():
        return body.endswith(b"0\r\n\r\n")
    length = next(line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
    return len(body) >= int(length.split(b":")[1])


@dataclass(frozen=True)
class Front:
    """A running front."""

    port: int
    pid: int  # gunicorn's master

    @property
    def cpu_s(self) -> float:
        """Processor seconds that its processes have taken."""
        workers = Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text().split()
        return _cpu_s(self.pid) + sum(_cpu_s(int(pid)) for pid in workers)


def _cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    in_user_mode, in_kernel = int(fields[11]), int(fields[12])
    return (in_user_mode + in_kernel) / os.sysconf("SC_CLK_TCK")


@contextmanager
def front(run_dir: Path, store: str) -> Iterator[Front]:
    """The front before a stand-in."""
    port = free_loopback_port()
    environ = {
        **{name: value for name, value in os.environ.items() if not name.startswith("OCK_")},
        "PYTHONPATH": os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]),
        "OCK_HOST": "127.0.0.1",
        "OCK_PORT": str(port),
        "OCK_RUN_DIR": str(run_dir),
        "OCK_CHAT_MODEL": str(_CHAT_MODEL),
        "OCK_MODERATION": "off",
        "OCK_STORE": store,
    }
    command = [sys.executable, "-m", "gunicorn", "-c", str(ROOT / "container/gunicorn_conf.py"), "server.web.wsgi:app"]
    with (run_dir / "front.log").open("wb") as log, ExitStack() as stack:
        process = subprocess.Popen(command, env=environ, stdout=log, stderr=log)
        stack.callback(process.wait)
        stack.callback(process.terminate)
        _wait_until(lambda: _answers(port), process, run_dir / "front.log")
        yield Front(port, process.pid)


def _wait_until(true: Callable[[], bool], process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + _START_S
    while not true():
        if process.poll() is not None or time.monotonic() > deadline:
            raise SystemExit(f"front_bench: the front did not start:\n{log.read_text()}")
        time.sleep(0.05)


def _answers(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/ping", timeout=5) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def measured(server: Front, num_clients: int, seconds: float, pieces: int) -> dict[str, Any]:
    """One client's turns, many clients' turns, and streams of `pieces` each."""
    port = server.port
    question = {"inputs": "Who was Abraham Lincoln?", "parameters": {"max_new_tokens": 32}}
    turns = Load(port, "/invocations", question)
    said = {"messages": [{"role": "user", "content": "Who was Abraham Lincoln?"}], "max_tokens": pieces, "stream": True}
    streams = Load(port, "/v1/chat/completions", said)
    turns.seconds(num_clients, _WARM_UP_S)
    before = server.cpu_s
    alone, _ = turns.seconds(1, seconds)
    between = server.cpu_s
    many, whole_s = turns.seconds(num_clients, seconds)
    behind = server.cpu_s
    streamed, streamed_s = streams.seconds(_STREAM_CLIENTS, seconds)
    streams_cpu_s = server.cpu_s - behind
    return {
        "one_client": {**_milliseconds(alone), "front_cpu_ms": _each(between - before, len(alone))},
        "many_clients": {
            "clients": num_clients,
            "turns_per_s": round(len(many) / whole_s, 1),
            **_milliseconds(many),
            "front_cpu_ms": _each(behind - between, len(many)),
        },
        "streams": {
            "clients": _STREAM_CLIENTS,
            "pieces_each": pieces,
            "pieces_per_s": round(len(streamed) * pieces / streamed_s),
            "front_cpu_ms": _each(streams_cpu_s, len(streamed) * pieces),
        },
    }


def _milliseconds(taken: list[float]) -> dict[str, float]:
    cuts = statistics.quantiles(taken, n=100, method="inclusive")
    return {f"p{place}_ms": round(1000 * cuts[place - 1], 2) for place in (50, 95, 99)}


def _each(cpu_s: float, number: int) -> float:
    return round(1000 * cpu_s / number, 4)


def main() -> None:
    """Print one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clients", type=int, default=16, help="of the turns a second (default: %(default)s)")
    parser.add_argument("--seconds", type=float, default=5.0, help="of each measurement (default: %(default)s)")
    parser.add_argument("--pieces", type=int, default=256, help="of a streamed reply (default: %(default)s)")
    parser.add_argument("--store", default="memory://", help="as OCK_STORE (default: %(default)s)")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="ock-front-") as folder:
        AtOnce(Path(folder)).start()
        with front(Path(folder), given.store) as server:
            found = measured(server, given.clients, given.seconds, given.pieces)
    facts = {"machine": machine_facts(), "load": os.getloadavg()[0], "python": platform.python_version()}
    command = shlex.join(["python", "-m", "container.front_bench", *sys.argv[1:]])
    print(json.dumps({**found, "store": given.store, **facts, "command": command}, indent=1))


if __name__ == "__main__":
    main()
