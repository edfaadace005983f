"""How long turns take on a running server: turns of this server's own API, or load of a kind on any chat server.

With --workload, streamed chat completions under closed (--clients) or open (--rate) load: times to the first text,
between tokens and to the end, goodput under an objective, errors, costs, the server's own phases; JSON, HTML and PNG.
`bench compare A.json B.json` sets two such results side by side. Without it, turns of POST /invocations.
`bench overload` offers many times what the server can take, and says what becomes of answers, refusals and memory;
`bench slow-clients` what clients that never finish their requests cost one that does.

With --against, rounds alternate between the two servers, so that whatever else the machine does falls on both; that
is how two settings of one server, moderation on and off say, are compared. Prints JSON.
"""

from __future__ import annotations

import argparse
import json
import platform
import shlex
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from deploy.client import ChatClient, ChatError
from deploy.errors import DeployError
from deploy.measure.bench.compare import compared
from deploy.measure.bench.harness import add_harness_arguments, measured
from deploy.measure.bench.overload import add_overload_arguments, overloaded
from deploy.measure.bench.slow_clients import add_slow_client_arguments, slowed
from deploy.measure.turn_load import Asking, Burst, burst, conversation, summary
from server.machine import machine_facts

_TIMEOUT_S = 300.0
_MEASURED = {"overload": overloaded, "slow-clients": slowed}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The flags of `bench`."""
    parser.add_argument(
        "words", nargs="*", metavar="overload | slow-clients | compare A.json B.json", help="what to do, if not turns"
    )
    where = parser.add_mutually_exclusive_group()
    where.add_argument("--url", help="the server, as in http://127.0.0.1:8080")
    where.add_argument("--endpoint", metavar="NAME", help="a SageMaker endpoint, or NAME/COMPONENT of one")
    parser.add_argument("--region", help="of the endpoint (default: boto3's own choice)")
    parser.add_argument("--against", metavar="URL", help="another server, which the figures are divided by")
    parser.add_argument(
        "--clients", type=_counts, default=(1, 16), help="numbers of concurrent clients (default: 1,16)"
    )
    parser.add_argument("--turns", type=int, default=32, help="turns a round (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=3, help="rounds a server (default: %(default)s)")
    parser.add_argument("--max-new-tokens", type=int, default=64, help="of an answer (default: %(default)s)")
    parser.add_argument("--stream", action="store_true", help="read answers as they come, for the time to first text")
    parser.add_argument("--no-retrieval", action="store_true", help="answers without passages")
    parser.add_argument("--conversation", type=int, metavar="TURNS", help="instead: one session of so many turns")
    parser.add_argument("--json", type=Path, help="write the result here too")
    add_harness_arguments(parser)
    add_overload_arguments(parser)
    add_slow_client_arguments(parser)


def run(arguments: argparse.Namespace) -> int:
    """Measure and print the JSON."""
    if arguments.words and arguments.words[0] not in _MEASURED:
        print(_compared(arguments.words))
        return 0
    if not arguments.url and not arguments.endpoint:
        raise DeployError("one of --url and --endpoint is needed, or compare A.json B.json")
    asking = Asking(
        arguments.stream, {"max_new_tokens": arguments.max_new_tokens, "no_retrieval": arguments.no_retrieval}
    )
    open_client = _opener(arguments)
    try:
        if arguments.words:
            result = _MEASURED[arguments.words[0]](arguments)
        elif arguments.workload:
            result = measured(arguments)
        elif arguments.conversation:
            result = _conversation(open_client(), arguments.conversation, asking)
        else:
            result = _bursts(open_client, arguments, asking)
    except ChatError as error:
        raise DeployError(f"a turn failed: {error}") from error
    text = json.dumps({**result, **_circumstances()}, indent=1)
    print(text)
    if arguments.json:
        arguments.json.write_text(text, "utf-8")
    return 0


def _compared(words: list[str]) -> str:
    if len(words) != 3 or words[0] != "compare":
        raise DeployError(f"{' '.join(words)}: legal are overload, slow-clients and compare A.json B.json")
    return compared(Path(words[1]), Path(words[2]))


def _opener(arguments: argparse.Namespace) -> Callable[[], ChatClient]:
    if arguments.url:
        return lambda: ChatClient(arguments.url, timeout_s=_TIMEOUT_S)
    return lambda: ChatClient(endpoint_name=arguments.endpoint, region=arguments.region)


def _conversation(client: ChatClient, num_turns: int, asking: Asking) -> dict[str, Any]:
    def report(done: int) -> None:
        if done % 50 == 0:
            print(f"turn {done} of {num_turns}", file=sys.stderr)

    return conversation(client, num_turns, asking, report=report)


def _bursts(open_client: Callable[[], ChatClient], arguments: argparse.Namespace, asking: Asking) -> dict[str, Any]:
    servers = {"results": open_client}
    if arguments.against:
        servers["against"] = lambda: ChatClient(arguments.against, timeout_s=_TIMEOUT_S)
    found: dict[str, list[dict[str, float]]] = {name: [] for name in servers}
    for num_clients in arguments.clients:
        done: dict[str, list[Burst]] = {name: [] for name in servers}
        for number in range(arguments.rounds + 1):
            for name, opener in servers.items():
                done[name].append(burst(opener, num_clients, arguments.turns, asking=asking))
            what = f"round {number} of {arguments.rounds}" if number else "warm-up"
            print(f"{num_clients} clients: {what}", file=sys.stderr)
        for name, bursts in done.items():
            found[name].append({"clients": num_clients, **summary(bursts[1:])})  # the first warms up
    result: dict[str, Any] = {**found, "max_new_tokens": arguments.max_new_tokens, "stream": arguments.stream}
    if arguments.against:
        result["ratios"] = [_ratios(ours, theirs) for ours, theirs in zip(*found.values(), strict=True)]
    return result


def _ratios(ours: dict[str, float], theirs: dict[str, float]) -> dict[str, float]:
    timed = ("whole_ms_p50", "whole_ms_p95", "first_text_ms_p50", "turns_per_s")
    return {"clients": ours["clients"], **{name: ours[name] / theirs[name] for name in timed}}


def _circumstances() -> dict[str, Any]:
    return {
        "date": time.strftime("%Y-%m-%d"),
        "machine": machine_facts(),
        "versions": {"python": platform.python_version()},
        "command": shlex.join(["python", "-m", "deploy", *sys.argv[1:]]),
    }


def _counts(text: str) -> tuple[int, ...]:
    try:
        counts = tuple(int(part) for part in text.split(","))
    except ValueError:
        counts = ()
    if not counts or min(counts) < 1:
        raise argparse.ArgumentTypeError(f"{text!r}: numbers from 1 with commas between them, as in 1,16")
    return counts
