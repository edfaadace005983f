"""How gunicorn runs the front: one process, so that there is one queue before one engine group; threads in it."""

from __future__ import annotations

import gc
import importlib
import math
import os
import signal
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from server.config import ConfigError, from_env
from server.ports import bind_address, hosts_to_listen_on

try:
    _settings = from_env(os.environ)
except ConfigError as error:
    raise SystemExit(f"openchatkit: {error}") from error

bind = [bind_address(host, port) for host in hosts_to_listen_on(_settings.host) for port in _settings.ports]
workers = 1
worker_class = "server.web.reception.front_worker.FrontWorker"  # gthread whose threads see whole requests alone
threads = _settings.threads
worker_connections = max(1000, 2 * _settings.threads)
backlog = 2048
keepalive = 75  # seconds; longer than the minute that load balancers keep an idle connection for
# For this kind of worker a heartbeat of its main loop, which no request holds up. Opening an index comes before it:
# until then `post_fork`'s thread beats.
timeout = 30
graceful_timeout = math.ceil(_settings.drain_timeout_s)
worker_tmp_dir = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None  # noqa: S108 - a heartbeat must not wait for a disk
preload_app = False  # threads and sockets would not survive the fork
accesslog = None  # the front writes its own, with request ids
errorlog = "-"
loglevel = _settings.log_level.lower()
proc_name = "openchatkit-front"
control_socket_disable = True


LONGEST_LOAD_S = 300.0
_PAUSE_S = 10.0  # gunicorn looks every second


def post_fork(_arbiter: Any, worker: Any) -> None:
    """Beat while the application loads, but not for ever."""
    give_up = time.monotonic() + LONGEST_LOAD_S

    def beat() -> None:
        while not worker.booted and time.monotonic() < give_up:
            worker.notify()
            time.sleep(1)

    threading.Thread(target=beat, daemon=True, name="loading").start()


def post_worker_init(worker: Any) -> None:
    """On SIGTERM drain first, accepting connections all the while to refuse their requests; then let gunicorn end."""
    gc.collect()
    gc.freeze()  # what is there for good is not looked through again and again while requests wait
    drain = worker.wsgi.extensions["front"].drain
    asked = threading.Event()

    def drain_when_asked() -> None:
        asked.wait()
        try:
            drain.run()
        finally:
            worker.handle_exit(signal.SIGTERM, None)

    threading.Thread(target=drain_when_asked, daemon=True, name="drain").start()
    signal.signal(signal.SIGTERM, lambda _number, _frame: asked.set())
    signal.siginterrupt(signal.SIGTERM, False)
    _reload_on_hangup(worker.wsgi.extensions.get("reload", lambda: None))


def _reload_on_hangup(read_again: Callable[[], None]) -> None:
    """On SIGHUP read policy and keys again and look for a newer index, in a thread of its own: a signal's handler must
    not wait for a lock.
    """
    signal.signal(signal.SIGHUP, lambda _number, _frame: threading.Thread(target=read_again, name="reload").start())
    signal.siginterrupt(signal.SIGHUP, False)


def when_ready(arbiter: Any) -> None:
    """Pass SIGHUP on to the front, which reads policy and keys again; gunicorn itself would start another front."""

    def pass_on(number: int, _frame: object) -> None:
        for pid in list(arbiter.WORKERS):
            os.kill(pid, number)

    signal.signal(signal.SIGHUP, pass_on)
    arbiter.murder_workers = forgiving_pauses(arbiter.murder_workers)
    _import_ahead()


def _import_ahead() -> None:
    """Have what takes seconds to import in the process that fronts are forked from, so that one that takes another's
    place has it. None of these modules starts work of its own or looks at a device when it is imported.
    """
    names = ["server.web.app", "server.chat.assembly", *(["sentence_transformers"] if _settings.index else [])]
    for name in names:
        with suppress(ImportError):  # which the front says, where it needs the module
            importlib.import_module(name)
    gc.collect()
    gc.freeze()  # what nothing writes to stays shared


def forgiving_pauses(look: Callable[[], None], clock: Callable[[], float] = time.monotonic) -> Callable[[], None]:
    """`look` at the heartbeats, but not soon after gunicorn itself was held up: with a container that is paused, the
    front was held up too, and needs a moment to beat again.
    """
    looked_at = not_before = clock()

    def patient_look() -> None:
        nonlocal looked_at, not_before
        now = clock()
        if now - looked_at >= _PAUSE_S:
            not_before = now + _PAUSE_S
        looked_at = now
        if now >= not_before:
            look()

    return patient_look


def worker_exit(_server: Any, worker: Any) -> None:
    """Let go of what the application holds open, if it was ever loaded."""
    application = getattr(worker, "wsgi", None)
    close = None if application is None else application.extensions.get("close")
    if close is not None:
        close()
