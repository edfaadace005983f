"""All kinds of requests at once for as long as you like, with faults among them, and books that must balance.

With --start it starts a server of its own (the demo's, or what OCK_ variables name), and with --faults it kills, stops
and pauses that server's processes and locks its store until the last 40 % of the time or 8 minutes, starting it again
when it ends, as whatever runs a container would. At the end: every request ended once, every answered turn is stored
once and can be read, all blocks are free, memory, descriptors and threads are flat, and each fault was mended within
the start of what was lost and 3 s.
Prints JSON; status 1 when something was wrong.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import signal
import sys
import tempfile
from pathlib import Path
from types import FrameType
from typing import Any

from deploy.errors import DeployError
from deploy.measure.soak.call import Server
from deploy.measure.soak.own_server import OwnServer
from deploy.measure.soak.run import Plan, Soak
from server.machine import machine_facts


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The flags of `soak`."""
    where = parser.add_mutually_exclusive_group(required=True)
    where.add_argument("--url", help="a server that runs, as in http://127.0.0.1:8080")
    where.add_argument("--start", action="store_true", help="a server started here")
    parser.add_argument("--minutes", type=float, default=30, help="in all (default: %(default)s)")
    parser.add_argument("--faults", action="store_true", help="harm the server that --start started")
    parser.add_argument(
        "--pause", type=float, default=10, help="seconds between two faults, at most (default: %(default)s)"
    )
    parser.add_argument("--clients", type=int, default=8, help="at once (default: %(default)s)")
    parser.add_argument(
        "--seed", type=int, default=1, help="of the choice of requests and faults (default: %(default)s)"
    )
    parser.add_argument("--folder", type=Path, help="where the server's log and store stay (default: a temporary one)")
    parser.add_argument("--json", type=Path, help="write the report here too")


def run(arguments: argparse.Namespace) -> int:
    """Soak and print the report; 1 when something was wrong."""
    if arguments.faults and not arguments.start:
        raise DeployError("--faults needs --start: only a server that was started here may be harmed")
    if arguments.minutes <= 0 or arguments.clients < 1 or arguments.pause < 0:
        given = f"--minutes {arguments.minutes:g} --clients {arguments.clients} --pause {arguments.pause:g}"
        raise DeployError(f"{given}: legal are more than 0, 1 up and 0 up")
    report = _against(arguments.url, arguments) if arguments.url else _with_own_server(arguments)
    text = json.dumps({**report, **_circumstances()}, indent=1)
    print(text)
    if arguments.json:
        arguments.json.write_text(text, "utf-8")
    return 1 if report["wrong"] or report["late"] or report["grown"] else 0


def _against(url: str, arguments: argparse.Namespace) -> dict[str, Any]:
    server = Server(url)
    if server.get("/ping").status != 200:
        raise DeployError(f"{url}/ping does not answer 200")
    return Soak(server, None, _plan(arguments), start_s=0, say=_say).run()


def _with_own_server(arguments: argparse.Namespace) -> dict[str, Any]:
    with tempfile.TemporaryDirectory(prefix="soak-") as temporary:
        folder = arguments.folder or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        signal.signal(signal.SIGTERM, _interrupted)
        own = OwnServer(folder.resolve(), os.environ)
        try:
            start_s = own.start()
            report = Soak(own.server, own, _plan(arguments), start_s=start_s, say=_say).run()
        finally:
            own.stop()
    return {"start_s": round(start_s, 1), "starts": own.num_starts, **report}


def _interrupted(_number: int, _frame: FrameType | None) -> None:
    """The server is ended, then, as after Ctrl-C."""
    raise KeyboardInterrupt


def _plan(arguments: argparse.Namespace) -> Plan:
    return Plan(
        60 * arguments.minutes, arguments.clients, arguments.seed,
        faults=arguments.faults, longest_pause_s=arguments.pause,
    )  # fmt: skip


def _say(progress: str) -> None:
    print(progress, file=sys.stderr, flush=True)


def _circumstances() -> dict[str, Any]:
    return {"machine": machine_facts(), "command": shlex.join(["python", "-m", "deploy", *sys.argv[1:]])}
