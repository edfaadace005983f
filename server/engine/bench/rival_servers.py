"""Other engines' servers, started for a comparison where they are installed, and ended with it."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import shutil
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

from server.engine.bench.gguf_file import gguf_of

_START_S = 600.0
# llama.cpp's own server as the package xllamacpp carries it; its wheels are built for AVX2.
_XLLAMACPP = """
import sys, threading, xllamacpp
file, threads, slots, window, port = sys.argv[1], *map(int, sys.argv[2:])
asked = xllamacpp.CommonParams()
asked.model.path, asked.n_ctx, asked.n_parallel, asked.port = file, slots * window, slots, port
asked.cpuparams.n_threads = asked.cpuparams_batch.n_threads = threads
asked.hostnames = ["127.0.0.1"]
asked.cache_prompt, asked.warmup = False, True
server = xllamacpp.Server(asked)
threading.Event().wait()
"""


class RivalError(RuntimeError):
    """A rival that is not installed or does not start; the sentence says which and why."""


@contextlib.contextmanager
def rival_server(name: str, folder: Path, port: int, most_at_once: int, window: int) -> Iterator[str]:
    """`llama.cpp` or `vllm` serving the checkpoint in `folder` on loopback, on all cores; its address.

    Raises:
        RivalError: it is not installed, or ends before it answers.
    """
    command = _COMMANDS[name](folder, port, most_at_once, window)
    process = subprocess.Popen(command, stdout=sys.stderr, env=os.environ.copy(), start_new_session=True)
    try:
        _wait_for(name, process, f"http://127.0.0.1:{port}/health")
        yield f"http://127.0.0.1:{port}"
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(20)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _llama_cpp(folder: Path, port: int, most_at_once: int, window: int) -> list[str]:
    file = folder if folder.suffix == ".gguf" else gguf_of(folder)
    threads = str(os.cpu_count() or 1)
    slots = ["--parallel", str(most_at_once), "--ctx-size", str(most_at_once * window), "--no-cache-prompt"]
    listen = ["--host", "127.0.0.1", "--port", str(port)]
    found = shutil.which("llama-server")
    if found is not None:
        return [found, "--model", str(file), "--threads", threads, "--no-webui", *slots, *listen]
    if importlib.util.find_spec("xllamacpp") is None:
        raise RivalError("llama.cpp: there is neither llama-server on the PATH nor the package xllamacpp")
    return [sys.executable, "-c", _XLLAMACPP, str(file), threads, str(most_at_once), str(window), str(port)]


def _vllm(folder: Path, port: int, most_at_once: int, window: int) -> list[str]:
    found = shutil.which("vllm")
    if found is None and importlib.util.find_spec("vllm") is None:
        raise RivalError("vllm: there is no vllm on the PATH")
    limits = ["--max-num-seqs", str(most_at_once), "--max-model-len", str(window), "--no-enable-prefix-caching"]
    listen = ["--host", "127.0.0.1", "--port", str(port)]
    return [found or "vllm", "serve", str(folder), "--dtype", "bfloat16", *limits, *listen]


LLAMA_CPP = "llama.cpp"
_COMMANDS = {LLAMA_CPP: _llama_cpp, "vllm": _vllm}
RIVAL_SERVERS = tuple(_COMMANDS)


def _wait_for(name: str, process: subprocess.Popen[bytes], url: str) -> None:
    until = time.monotonic() + _START_S
    while time.monotonic() < until:
        if process.poll() is not None:
            raise RivalError(f"{name}: its server ended with status {process.returncode} before it answered")
        with contextlib.suppress(OSError), urllib.request.urlopen(url, timeout=5):  # noqa: S310 - loopback
            return
        time.sleep(0.5)
    raise RivalError(f"{name}: its server did not answer {url} within {_START_S:.0f} s")
