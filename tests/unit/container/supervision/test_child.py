from __future__ import annotations

import io
import os
import signal
import sys
import time

import pytest

from container.console import Console
from container.supervision.child import Child, Command, describe_exit


@pytest.mark.parametrize(
    ("exit_code", "words"),
    [
        (0, "exited with status 0"),
        (3, "exited with status 3"),
        (-9, "was killed by SIGKILL (the kernel does that when memory runs out)"),
        (-7, "was killed by SIGBUS (usually /dev/shm is full)"),
        (-15, "was killed by SIGTERM"),
        (-40, "was killed by signal 40"),
    ],
)
def test_an_exit_is_described_in_words(exit_code: int, words: str) -> None:
    assert describe_exit(exit_code) == words


def run(code: str) -> tuple[list[str], Child]:
    log = io.StringIO()
    child = Child(Command("child", [sys.executable, "-S", "-E", "-c", code], os.environ), Console(log))
    deadline = time.monotonic() + 30
    while (found := os.waitpid(child.pid, os.WNOHANG))[0] == 0:
        child.pump()
        assert time.monotonic() < deadline
    child.bury(os.waitstatus_to_exitcode(found[1]))
    return log.getvalue().splitlines(), child


def test_each_line_carries_the_childs_name_also_one_that_never_ended() -> None:
    lines, child = run("import sys; print('one', flush=True); sys.stderr.write('two\\nthree')")
    assert sorted(lines) == ["child      | one", "child      | three", "child      | two"]
    assert child.exit_code == 0
    assert not child.alive


def test_of_a_progress_bar_the_last_state_is_shown() -> None:
    assert run(r"print('10 %\r50 %\r100 %')")[0] == ["child      | 100 %"]


def test_the_last_words_are_kept_and_bytes_that_are_no_text_do_no_harm() -> None:
    _, child = run(r"import os; os.write(1, b'\n'.join(b'%d \xff' % n for n in range(50)))")
    assert list(child.last_words) == [f"{number} \ufffd" for number in range(38, 50)]


def test_a_child_that_writes_without_pause_holds_nobody_up() -> None:
    child = Child(Command("child", ["yes"], os.environ), Console(io.StringIO()))
    try:
        for _ in range(3):
            assert child.pump()  # it comes back
    finally:
        child.signal(signal.SIGKILL)
        child.bury(os.waitstatus_to_exitcode(os.waitpid(child.pid, 0)[1]))
