"""Small children for the supervisor's tests: a rank and a front that start in milliseconds.

usage: standin.py rank MODE RUN_DIR RANK ATTEMPT | standin.py front MODE
"""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path


def rank(mode, run_dir, number, attempt):
    print(f"pid={os.getpid()} attempt={attempt} port={os.environ['MASTER_PORT']}", flush=True)
    if mode in ("deaf", "part"):
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if mode == "refuse" and number == "1":
        print("golden prompt 3 differs", flush=True)
        sys.exit(2)
    if mode == "shmless" and os.environ["OCK_GROUP_TRANSPORT"] != "socket":
        print("the ranks cannot sum", flush=True)
        sys.exit(3)
    if mode == "part" and number == "0":  # it loses its peer, which is about to say what is wrong
        while not Path(run_dir, f"deaf.{attempt}").exists():
            time.sleep(0.01)
        sys.exit(1)
    if mode == "part":
        Path(run_dir, f"deaf.{attempt}").touch()
        time.sleep(0.1)
        sys.exit(2)
    if mode == "orphan":  # a grandchild in a session of its own outlives its parent by a moment
        subprocess.Popen(["sh", "-c", "sleep 0.2 & exit"], start_new_session=True).wait()
    if mode == "slow":
        until = time.monotonic() + 5
        while time.monotonic() < until or attempt == "1":
            if attempt != "1" or number == "0":
                Path(run_dir, f"rank-{number}.alive").touch()
            time.sleep(0.2)
    segment = f"deepspeed_allreduce_buffer_{os.getuid()}_127.0.0.1_{os.environ['MASTER_PORT']}_{number}"
    Path("/dev/shm", segment).write_bytes(b"x")
    if mode != "mute" and number == "0":
        (Path(run_dir) / "engine.ready").write_text(attempt)
    print("about to wait", flush=True)
    while mode != "faint" or attempt != "1":  # only the first attempt's heart stops
        if number == "0":
            (Path(run_dir) / "engine.beat").touch()
        time.sleep(0.1)
    while True:
        time.sleep(60)


def front(mode):
    def drain(_number, _frame):
        os.write(1, b"front drains\n")  # print cannot be entered again by a handler
        if mode != "stubborn":
            sys.exit(0)

    signal.signal(signal.SIGTERM, drain)
    print(f"pid={os.getpid()}", flush=True)
    while True:
        time.sleep(60)


if __name__ == "__main__":
    {"rank": rank, "front": front}[sys.argv[1]](*sys.argv[2:])
