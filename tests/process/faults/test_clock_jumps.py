"""The machine's clock jumps by hours under a front that answers and stores turns."""

from __future__ import annotations

import itertools
import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path

import httpx2
import pytest

from tests.process.web.front_server import Server, start_front

# Adds the seconds that a file holds to the time of day, and to no other clock.
SHIFTED = """
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>
static volatile long *shift;
__attribute__((constructor)) static void open_shift(void) {
    int file = open(getenv("CLOCK_SHIFT"), O_RDONLY);
    if (file >= 0) shift = mmap(0, sizeof *shift, PROT_READ, MAP_SHARED, file, 0);
}
int clock_gettime(clockid_t clock, struct timespec *now) {
    int (*real)(clockid_t, struct timespec *) = dlsym(RTLD_NEXT, "clock_gettime");
    int result = real(clock, now);
    if (clock == CLOCK_REALTIME && shift) now->tv_sec += *shift;
    return result;
}
"""
JUMPS_S = (3600, -7200, 40_000, -40_000, 0, 7200, -3600, 20_000, 0)
CLIENTS, TURNS = 4, 12


@pytest.fixture
def shift(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file whose seconds are added in every process that is started from now on."""
    if (compiler := shutil.which("cc")) is None:
        pytest.skip("there is no C compiler to make a clock that jumps")
    path, library = tmp_path / "shift", tmp_path / "shifted.so"
    path.write_bytes(bytes(8))
    flags = ["-shared", "-fPIC", "-x", "c", "-o", str(library), "-"]
    subprocess.run([compiler, *flags], input=SHIFTED, text=True, check=True)
    monkeypatch.setenv("LD_PRELOAD", str(library))
    monkeypatch.setenv("CLOCK_SHIFT", str(path))
    return path


def jump(shift: Path, seconds: int) -> None:
    with shift.open("r+b") as file:
        file.write(seconds.to_bytes(8, "little", signed=True))


def ask(server: Server, session_id: str, number: int) -> str | None:
    """The question, once it was answered; None for one that was refused."""
    question = f"{session_id} asks {number}"
    body = {"inputs": question, "parameters": {"session_id": session_id}}
    with httpx2.Client(base_url=server.url, timeout=90) as http:
        answer = http.post("/invocations", json=body)
        assert answer.status_code in (200, 409), answer.text
        assert http.get("/ping").status_code == 200
    return question if answer.status_code == 200 else None


def ask_all(server: Server, session_id: str) -> list[str | None]:
    return [ask(server, session_id, number) for number in range(TURNS)]


def test_no_turn_is_lost_doubled_or_late_when_the_clock_jumps(shift: Path, tmp_path: Path) -> None:
    server = start_front(tmp_path, {"store": f"sqlite:///{tmp_path}/c.sqlite"}, "tests.process.web.turns_wsgi:app")
    try:
        server.wait_ready()
        sessions = [f"session-{number}" for number in range(CLIENTS)]
        with ThreadPoolExecutor(CLIENTS) as threads:
            asking = [threads.submit(ask_all, server, session_id) for session_id in sessions]
            for seconds in itertools.cycle(JUMPS_S):
                jump(shift, seconds)
                if not wait(asking, timeout=0.02).not_done:
                    break
        told_at = []
        for session_id, each in zip(sessions, asking, strict=True):
            answered = [question for question in each.result() if question is not None]
            turns = server.http.get(f"/sessions/{session_id}").json()["turns"]
            assert [turn["user"] for turn in turns] == answered
            assert len(answered) > TURNS // 2
            told_at += [turn["created_at"] for turn in turns]
        assert max(told_at) - min(told_at) > 3600, "the clock did jump"
    finally:
        server.end()
