"""`bench --workload`: one target, one kind of conversation, loads one after the other."""

from __future__ import annotations

import argparse
import itertools
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from deploy.measure.bench.figures import Objective, figures
from deploy.measure.bench.load import Plan, Run, with_progress
from deploy.measure.bench.report import Series, html_report, write_pngs
from deploy.measure.bench.server_phases import look, mean_ms
from deploy.measure.bench.target import Answer, EndpointTarget, Target, UrlTarget
from deploy.measure.bench.workload import KINDS, conversations


def add_harness_arguments(parser: argparse.ArgumentParser) -> None:
    """The flags that go with --workload."""
    more = parser.add_argument_group("with --workload", "chat completions of any OpenAI-compatible server, streamed")
    more.add_argument("--workload", metavar="KIND", help=f"{', '.join(KINDS)}, or a file of JSON lines")
    more.add_argument(
        "--rate", type=float, nargs="+", help="open load: conversations a second, at random; not --clients"
    )
    more.add_argument("--duration", type=float, default=30.0, help="seconds a load (default: %(default)s)")
    more.add_argument("--warm-up", type=float, default=3.0, help="seconds before each that do not count")
    more.add_argument("--seed", type=int, default=0, help="of questions and arrivals (default: %(default)s)")
    more.add_argument("--temperature", type=float, default=0.6, help="(default: %(default)s, OpenChatKit's)")
    more.add_argument("--top-k", type=int, default=40, help="(default: %(default)s, OpenChatKit's; 0: not sent)")
    more.add_argument("--model", default="", help="the model's name, where the server asks for one")
    more.add_argument("--key", default="none", help="its API key")
    more.add_argument("--first-ms", type=float, help="a good answer's first text comes within so many milliseconds")
    more.add_argument("--between-ms", type=float, help="and its tokens so fast")
    more.add_argument("--whole-ms", type=float, help="and its end within so many")
    more.add_argument(
        "--price-per-hour", type=float, default=0.0, help="of the machine, for the cost of tokens and turns"
    )
    more.add_argument("--html", type=Path, help="write a report with plots")
    more.add_argument("--png", type=Path, metavar="FOLDER", help="write the plots as PNG files")


def measured(arguments: argparse.Namespace) -> dict[str, Any]:
    """Run every load and write the reports. Raises DeployError."""
    target = _target(arguments)
    loads = _loads(arguments)
    runs, samples = [], _Samples()
    for name, start in loads.items():
        before = look(arguments.url) if arguments.url else {}
        run = _run(target, arguments, name, start=start)
        phases = mean_ms(before, look(arguments.url)) if arguments.url else {}
        found = figures(run.answers, run.elapsed_s, _objective(arguments), price_per_hour=arguments.price_per_hour)
        runs.append({"load": name, **found, "server_phases_mean_ms": phases})
        samples.add(name, run.answers)
    result = {
        "target": arguments.url or arguments.endpoint,
        "workload": arguments.workload,
        "seed": arguments.seed,
        "fields": _fields(arguments),
        "runs": runs,
    }
    if arguments.html:
        arguments.html.write_text(html_report(result, samples.series), "utf-8")
    if arguments.png:
        write_pngs(arguments.png, samples.series)
    return result


def _target(arguments: argparse.Namespace) -> Target:
    if arguments.url:
        return UrlTarget(arguments.url, arguments.key)
    return EndpointTarget(arguments.endpoint, arguments.region)


class _Samples:
    """Times of all answers, for the plots."""

    def __init__(self) -> None:
        self.series: dict[str, list[Series]] = {"first text, ms": [], "between tokens, ms": [], "whole, ms": []}

    def add(self, name: str, answers: list[Answer]) -> None:
        good = [each for each in answers if not each.error]
        between = [1000 * each.between_s for each in good if each.between_s is not None]
        values = ([1000 * each.first_s for each in good], between, [1000 * each.whole_s for each in good])
        for lines, found in zip(self.series.values(), values, strict=True):
            if found:
                lines.append((name, found))


def _loads(arguments: argparse.Namespace) -> dict[str, Callable[[Run], None]]:
    if arguments.rate:
        return {f"{rate:g} a second": partial(Run.open, rate=rate) for rate in arguments.rate}
    return {f"{count} clients": partial(Run.closed, num_clients=count) for count in arguments.clients}


def _run(target: Target, arguments: argparse.Namespace, name: str, start: Callable[[Run], None]) -> Run:
    def report(done: int, seconds: float) -> None:
        print(f"{name}: {done} answers, {seconds:.0f} of {arguments.duration:.0f} s", file=sys.stderr)

    asked = conversations(arguments.workload, arguments.seed)
    first = next(asked)  # a file that cannot be read is said before anything is asked
    asked = itertools.chain([first], asked)
    if arguments.warm_up:
        start(Run(target, asked, Plan(arguments.warm_up, arguments.seed, _fields(arguments))))
    run = Run(target, asked, Plan(arguments.duration, arguments.seed, _fields(arguments)))
    with_progress(run, lambda: start(run), report)
    return run


def _fields(arguments: argparse.Namespace) -> dict[str, Any]:
    fields: dict[str, Any] = {
        "model": arguments.model, "temperature": arguments.temperature, "max_tokens": arguments.max_new_tokens,
    }  # fmt: skip
    if arguments.top_k:
        fields["top_k"] = arguments.top_k
    if arguments.no_retrieval:
        fields["no_retrieval"] = True
    return fields


def _objective(arguments: argparse.Namespace) -> Objective:
    found = (arguments.first_ms, arguments.between_ms, arguments.whole_ms)
    return Objective(*(None if each is None else each / 1000 for each in found))
