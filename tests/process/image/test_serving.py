from __future__ import annotations

import time

from podman_cli import TWO_RANKS, Container, podman, started

from container.ports import free_loopback_port

ZOMBIES = (
    "import pathlib;"
    "print([path.name for path in pathlib.Path('/proc').glob('[0-9]*')"
    " if (path / 'stat').read_text().rpartition(')')[2].split()[0] == 'Z'])"
)
BUILT = "import pathlib; print([str(path) for path in pathlib.Path('/root').rglob('*.so')])"
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


def test_sigterm_drains_and_a_new_container_goes_on_with_the_conversation(server: Container, volume: str) -> None:
    ask(server, "Good morning")
    before = server.get(f"/sessions/{SESSION}")[1]["turns"]
    began = time.monotonic()
    podman("stop", "--time", "30", server.name)
    assert server.wait_for_exit() == 0
    assert time.monotonic() - began < 30
    assert "drain.end" in server.log
    options = (*TWO_RANKS, "--volume", f"{volume}:/data")
    with started(f"{volume}-second", free_loopback_port(), *options) as again:
        again.wait_until_ready()
        assert again.get(f"/sessions/{SESSION}")[1]["turns"] == before
        ask(again, "Thank you")
        assert len(again.get(f"/sessions/{SESSION}")[1]["turns"]) == len(before) + 1


def test_one_rank_serves_with_the_shared_memory_that_docker_gives(volume: str) -> None:
    with started(f"{volume}-plain", free_loopback_port(), command=("serve",)) as plain:
        plain.wait_until_ready()
        status, answer = plain.post("/invocations", {"inputs": "Good morning"})
        assert status == 200, answer
        assert answer["outputs"]
