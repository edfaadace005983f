from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from server.ports import free_loopback_port
from tests.process.image.podman_cli import TWO_RANKS, Container, podman, started

ZOMBIES = (
    "import pathlib;"
    "print([path.name for path in pathlib.Path('/proc').glob('[0-9]*')"
    " if (path / 'stat').read_text().rpartition(')')[2].split()[0] == 'Z'])"
)
BUILT = "import pathlib; print([str(path) for path in pathlib.Path('/tmp').rglob('*.so')])"
SIGNAL_RANK_0 = (
    "import os, pathlib, signal;"
    "[os.kill(int(path.name), signal.{}) for path in pathlib.Path('/proc').glob('[0-9]*')"
    " if (path / 'cmdline').read_bytes().startswith(b'python -m server.engine.rank --rank 0')]"
)
SESSION = "image-test"


def ask(server: Container, text: str) -> dict[str, object]:
    status, answer = server.post("/invocations", {"inputs": text, "parameters": {"session_id": SESSION}})
    assert status == 200, answer
    return answer


def test_a_question_is_answered_with_its_source(server: Container) -> None:
    answer = ask(server, "Who was Abraham Lincoln?")
    assert answer["outputs"]
    assert answer["sources"][0]["title"] == "Abraham Lincoln"
    assert answer["moderation"]["input"]["label"]


def test_no_start_compiles_anything_and_no_zombie_is_left(server: Container) -> None:
    assert server.python(BUILT) == "[]"
    assert server.python(ZOMBIES) == "[]"


def test_a_stream_that_is_open_at_sigterm_ends_well_and_a_new_container_goes_on_with_the_conversation(
    server: Container, volume: str
) -> None:
    ask(server, "Good morning")
    before = server.get(f"/sessions/{SESSION}")[1]["turns"]
    last = stream_over_a_stop(server)
    assert last["finish_reason"] in ("stop", "length"), last
    turn = {"user": "Who was Abraham Lincoln?", "reply": last["outputs"], "finish_reason": last["finish_reason"]}
    options = (*TWO_RANKS, "--volume", f"{volume}:/data")
    with started(f"{volume}-second", free_loopback_port(), *options) as again:
        again.wait_until_ready()
        *earlier, stored = again.get(f"/sessions/{SESSION}")[1]["turns"]
        assert earlier == before
        assert turn.items() <= stored.items()
        ask(again, "Thank you")
        assert len(again.get(f"/sessions/{SESSION}")[1]["turns"]) == len(before) + 2


def stream_over_a_stop(server: Container) -> dict[str, Any]:
    """The last record of a stream that is under way when the container gets SIGTERM.

    Rank 0 is held still from before the question until the front drains, or the small model would be done before.
    """
    question = {"inputs": "Who was Abraham Lincoln?", "parameters": {"session_id": SESSION}}
    server.python(SIGNAL_RANK_0.format("SIGSTOP"))
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(server.stream, question)
        server.wait_until(lambda: server.get("/ping?detail=1")[1]["admitted"] == 1)
        began = time.monotonic()
        # Not `stop`: podman runs nothing in a container that it is stopping.
        podman("kill", "--signal", "TERM", server.name)
        server.wait_until(lambda: "drain.begin requests=1" in server.log)
        server.python(SIGNAL_RANK_0.format("SIGCONT"))
        assert server.wait_for_exit() == 0
        assert time.monotonic() - began < 30
        assert "drain.end left=0" in server.log
        return answer.result()[-1]


def test_one_rank_serves_with_the_shared_memory_that_docker_gives_and_stops_in_time(volume: str) -> None:
    with started(f"{volume}-plain", free_loopback_port(), command=("serve",)) as plain:
        plain.wait_until_ready()
        status, answer = plain.post("/invocations", {"inputs": "Good morning"})
        assert status == 200, answer
        assert answer["outputs"]
        podman("stop", "--time", "30", plain.name)
        assert plain.wait_for_exit() == 0  # 137, had podman killed it
