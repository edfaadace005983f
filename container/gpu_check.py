"""`make gpu-check`: on a machine with an NVIDIA card, everything that can be shown of it, in one report.

Runs the GPU tests, the engine's benchmark in each of its ways beside transformers, a random model of the 20B's shape
where the card holds it, the memory plan against what was really taken, and the demo over HTTP. Every part goes on when
another fails. Writes report.json, report.md and the logs; the card, its driver and the versions stand in both.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import os
import shutil
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from container.machine.facts import MIB, Gpu, look_at_machine
from container.machine.shapes import find_shape
from server.engine.parallel.cache_folder import cache_folder
from server.ports import free_loopback_port

ROOT = Path(__file__).resolve().parent.parent
_BENCH = ("-m", "server.engine.bench", "--tensor-parallel-degree", "1", "--prompt-tokens", "128", "--new-tokens", "64")
_SMALL = ("--random", "gpt-neox-1.4b", "--batch", "1,16,32")
_LARGE = ("--random", "gpt-neox-20b", "--batch", "1,8", "--dtype", "bfloat16")
_LARGE_BYTES = 60 * 2**30  # 41 GB of weights, keys and values, and what CUDA takes
_PACKAGES = ("torch", "triton", "transformers", "deepspeed")
_QUESTION = "Who was Abraham Lincoln?"


@dataclass
class Part:
    """One thing that was tried: how it ended, how long it took, what it found."""

    name: str
    status: int | str
    seconds: float
    log: str
    found: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Try:
    """One thing to try: a command of Python's, its environment, its limit of time."""

    name: str
    argv: tuple[str, ...]
    environ: Mapping[str, str] = field(default_factory=dict)
    limit_s: float = 600.0


def tries(gpu: Gpu | None) -> list[Try]:
    """What is tried on this card; the 20B only where it fits."""
    ways = [
        Try("tests", ("-m", "pytest", "tests/gpu", "-q", "-p", "no:cacheprovider")),
        Try("bfloat16", (*_BENCH, *_SMALL, "--dtype", "bfloat16", "--compare", "transformers")),
        Try("no-overlap", (*_BENCH, *_SMALL, "--dtype", "bfloat16"), {"OCK_OVERLAP": "off"}),
        Try("torch-kernels", (*_BENCH, *_SMALL, "--dtype", "bfloat16"), {"OCK_KERNELS": "torch"}),
        Try("int8", (*_BENCH, *_SMALL, "--dtype", "int8")),
        Try("int4", (*_BENCH, *_SMALL, "--dtype", "int4")),
    ]
    if gpu is not None and gpu.memory_bytes > _LARGE_BYTES:
        ways.append(Try("20b", (*_BENCH, *_LARGE), limit_s=1800))
    return ways


def run(wanted: Try, out: Path) -> Part:
    """Try it; a benchmark's figures are in `found`."""
    log, figures = out / f"{wanted.name}.log", out / f"{wanted.name}.json"
    argv = [sys.executable, *wanted.argv, *(("--json", str(figures)) if "server.engine.bench" in wanted.argv else ())]
    environ = {**os.environ, "OCK_DEVICE": "cuda", "PYTHONPATH": _python_path(), **wanted.environ}
    began = time.monotonic()
    status: int | str
    with log.open("w") as stream:
        try:
            done = subprocess.run(argv, cwd=ROOT, env=environ, stdout=stream, stderr=stream, timeout=wanted.limit_s)
            status = done.returncode
        except subprocess.TimeoutExpired:
            status = f"stopped after {wanted.limit_s:g} s"
    found = json.loads(figures.read_text("utf-8")) if figures.is_file() else {}
    return Part(wanted.name, status, round(time.monotonic() - began, 1), log=log.name, found=found)


def ask_the_demo(out: Path, limit_s: float = 600.0) -> Part:
    """Serve the demo on the card and ask it twice: how long a start takes, and an answer."""
    port, began = free_loopback_port(), time.monotonic()
    environ = {**os.environ, "OCK_DEVICE": "cuda", "OCK_HOST": "127.0.0.1", "OCK_PORT": str(port)}
    environ |= {"OCK_STORE": "memory://", "OCK_RUN_DIR": str(out / "run"), "PYTHONPATH": _python_path()}
    found: dict[str, Any] = {}
    with (out / "demo.log").open("w") as log:
        server = subprocess.Popen([sys.executable, ROOT / "container" / "serve"], env=environ, stdout=log, stderr=log)
        try:
            while not _answers(port) and server.poll() is None and time.monotonic() - began < limit_s:
                time.sleep(0.5)
            found["start_s"] = round(time.monotonic() - began, 1)
            if (ended := server.poll()) is not None:
                raise OSError(f"the server ended with status {ended}; demo.log says why")
            for key in ("first_answer_s", "second_answer_s"):
                asked = time.monotonic()
                found["answer"] = _ask(port)
                found[key] = round(time.monotonic() - asked, 3)
            status: int | str = 0
        except (OSError, ValueError, KeyError) as error:
            status = f"{type(error).__name__}: {error}"
        finally:
            server.send_signal(signal.SIGTERM)
            server.wait(60)
    return Part("demo", status, round(time.monotonic() - began, 1), log="demo.log", found=found)


def plan_beside_truth(parts: Sequence[Part], models: Path) -> dict[str, Any]:
    """What `plan` says the weights take beside what the benchmark's rank took at its most, in MiB.

    The rank's most includes CUDA's own, the workspace and the keys and values of the benchmark's batches.
    """
    compared = {}
    for part in parts:
        folder, peak = models / str(part.found.get("model", "")), part.found.get("peak_memory_bytes")
        if peak and (folder / "config.json").is_file() and (shape := find_shape(str(folder))):
            planned = shape.share(1, str(part.found["dtype"])).weights
            compared[part.name] = {"planned_weights_mib": planned // MIB, "peak_mib": int(peak) // MIB}
    return compared


def as_markdown(report: Mapping[str, Any]) -> str:
    """The report for people."""
    cards = ", ".join(f"{gpu['name']} ({gpu['memory_bytes'] // MIB} MiB)" for gpu in report["gpus"]) or "no card"
    driver = report["gpus"][0]["driver"] if report["gpus"] else "none"
    lines = [f"# {cards}, driver {driver}", "", ", ".join(f"{k} {v}" for k, v in report["versions"].items()), ""]
    lines += ["| part | status | seconds |", "|---|---|---|"]
    lines += [f"| {part['name']} | {part['status']} | {part['seconds']} |" for part in report["parts"]]
    lines += [
        "",
        "| part | batch | tokens/s decoding | first token s | share of the read limit |",
        "|---|---|---|---|---|",
    ]
    for part in report["parts"]:
        for way, rows in (("", part["found"].get("results", [])), *part["found"].get("compare", {}).items()):
            for row in rows:
                share = part["found"].get("read_limit_fraction") if row.get("batch") == 1 and not way else None
                lines.append(_row(f"{part['name']} {way}".strip(), row, share))
    return "\n".join(lines) + "\n"


def main(argv: Sequence[str] | None = None) -> int:
    """Write the report; 0 when every part that was tried ended well."""
    parser = argparse.ArgumentParser(prog="python -m container.gpu_check", description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("build/gpu-check"), help="default: %(default)s")
    parser.add_argument("--without-card", action="store_true", help="rehearse: go on where there is no card")
    arguments = parser.parse_args(argv)
    machine, out = look_at_machine(), arguments.out.resolve()
    if not machine.gpus and not arguments.without_card:
        sys.stderr.write("gpu-check: nvidia-smi shows no card; nothing is claimed without one\n")
        return 2
    out.mkdir(parents=True, exist_ok=True)
    parts = []
    for wanted in tries(machine.gpus[0] if machine.gpus else None):
        parts.append(run(wanted, out))
        print(f"{wanted.name}: {parts[-1].status} after {parts[-1].seconds:g} s", flush=True)
    parts.append(ask_the_demo(out))
    report = {
        "gpus": [asdict(gpu) for gpu in machine.gpus],
        "versions": {"python": sys.version.split()[0], **{name: _version(name) for name in _PACKAGES}},
        "date": time.strftime("%Y-%m-%d"),
        "parts": [asdict(part) for part in parts],
        "memory": plan_beside_truth(parts, cache_folder() / "bench"),
    }
    (out / "report.json").write_text(json.dumps(report, indent=1) + "\n", "utf-8")
    (out / "report.md").write_text(as_markdown(report), "utf-8")
    shutil.rmtree(out / "run", ignore_errors=True)
    print(f"{out / 'report.md'}\n{out / 'report.json'}")
    return 0 if all(part.status == 0 for part in parts) else 1


def _row(name: str, row: Mapping[str, Any], share: float | None) -> str:
    rate, first = row.get("decode_tokens_per_s"), row.get("first_token_s", row.get("time_to_first_token_s"))
    cells = [name, str(row.get("batch", "")), _number(rate), _number(first), _number(share)]
    return f"| {' | '.join(cells)} |"


def _number(value: object) -> str:
    return f"{value:.3g}" if isinstance(value, int | float) else ""


def _answers(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/ping", timeout=2) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def _ask(port: int) -> str:
    body = json.dumps({"inputs": _QUESTION}).encode()
    asked = urllib.request.Request(f"http://127.0.0.1:{port}/invocations", body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(asked, timeout=120) as answer:  # noqa: S310 - our own server
        return str(json.loads(answer.read())["outputs"])


def _python_path() -> str:
    return os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH", "")]))


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "missing"


if __name__ == "__main__":
    raise SystemExit(main())
