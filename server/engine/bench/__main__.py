"""How fast the engine is here: `python -m server.engine.bench --random gpt-neox-410m --json OUT`.

It starts the ranks itself, drives them with random prompts through the scheduler and the loop that serve, and can time
transformers or an OpenAI-compatible server with the same work in the same run.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import msgspec

from server import wire
from server.dtypes import DTYPES
from server.engine.bench.driver import Work
from server.engine.bench.limits import MachineLimits
from server.engine.bench.random_model import SHAPES, random_model
from server.engine.bench.rival_servers import LLAMA_CPP, RIVAL_SERVERS, rival_server
from server.engine.bench.rivals import time_openai, time_transformers
from server.engine.parallel.placement import device_kind
from server.machine import machine_facts
from server.ports import free_loopback_port

_PACKAGES = ("torch", "deepspeed", "transformers", "safetensors", "numpy")
_RIVALS_HELP = f"transformers, {', '.join(RIVAL_SERVERS)} where it is installed, llama.cpp FILE.gguf and openai URL"
_ROW = "{:>5} {:>12.1f} {:>12.1f} {:>12.3f} {:>10}"


@dataclass(frozen=True)
class Group:
    """The ranks to start."""

    folder: Path
    world: int
    dtype: str

    def run(self, work: Work) -> dict[str, Any]:
        """Start the ranks, wait for them, and return rank 0's figures.

        Raises:
            RuntimeError: a rank fails.
        """
        with tempfile.TemporaryDirectory() as scratch:
            out = Path(scratch) / "figures.json"
            work = msgspec.structs.replace(work, started_at=time.time())
            port = free_loopback_port()
            ranks = [self._start(rank, port, work, out=out) for rank in range(self.world)]
            try:
                for rank, process in enumerate(ranks):
                    if process.wait():
                        raise RuntimeError(f"rank {rank} ended with status {process.returncode}")
            finally:
                for process in ranks:
                    process.kill()  # does nothing to one that has ended
                    process.wait()
            figures: dict[str, Any] = json.loads(out.read_text("utf-8"))
            return figures

    def _start(self, rank: int, port: int, work: Work, out: Path) -> subprocess.Popen[bytes]:
        threads = max(1, (os.cpu_count() or 1) // self.world)
        tokens = max(work.batches) * (work.prompt_tokens + work.new_tokens + 32) + 2048
        environment = {
            **os.environ,
            "OCK_CHAT_MODEL": str(self.folder),
            "OCK_TENSOR_PARALLEL_DEGREE": str(self.world),
            "OCK_DTYPE": self.dtype,
            "OCK_RUN_DIR": str(out.parent),
            "OCK_KV_CACHE_TOKENS": str(tokens),
            "OCK_MAX_CONTEXT_TOKENS": str(tokens),  # the window may be longer than what is measured
            "OCK_MAX_RUNNING": str(max(*work.batches, 32)),
            "MASTER_ADDR": "127.0.0.1",
            "MASTER_PORT": str(port),
            "WORLD_SIZE": str(self.world),
            "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", str(threads)),
        }
        # By itself DeepSpeed takes a GPU wherever the machine has one.
        environment.setdefault("DS_ACCELERATOR", device_kind(os.environ.get("OCK_DEVICE", "auto"), self.world))
        encoded = msgspec.json.encode(work).decode()
        command = [sys.executable, "-m", "server.engine.bench.rank", "--rank", str(rank), "--work", encoded]
        return subprocess.Popen([*command, "--json", str(out)], env=environment, stdout=sys.stderr)


def main() -> int:
    """Run the benchmark, print a table, write the JSON."""
    arguments = read_arguments(sys.argv[1:])
    folder = arguments.model or random_model(arguments.random)
    work = _work(arguments)
    try:
        report = Group(folder, arguments.tensor_parallel_degree, arguments.dtype).run(work)
    except (RuntimeError, OSError) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    _compare(arguments, folder, work, report=report)
    report["results"] = [MachineLimits.of(report).beside(row) for row in report["results"]]
    at_one = next((row["decode_tokens_per_s"] for row in report["results"] if row["batch"] == 1), None)
    limit = report["read_bandwidth_bytes_per_s"] / report["weight_bytes_per_token"]
    report["read_limit_fraction"] = at_one and at_one / limit
    report["sampling"] = msgspec.to_builtins(work.sampling)
    report.update(
        model=arguments.random or str(folder), dtype=arguments.dtype, date=time.strftime("%Y-%m-%d"),
        tensor_parallel_degree=arguments.tensor_parallel_degree, machine=machine_facts(),
        versions={name: version(name) for name in _PACKAGES}, command=shlex.join(sys.orig_argv),
    )  # fmt: skip
    _print(report)
    if arguments.json:
        arguments.json.write_text(json.dumps(report, indent=1) + "\n", "utf-8")
    return 1 if report["not_compared"] else 0


def read_arguments(words: Sequence[str]) -> argparse.Namespace:
    """The options among `words`. Raises SystemExit, with a sentence, for what is not legal."""
    parser = argparse.ArgumentParser(prog="python -m server.engine.bench", description=__doc__)
    model = parser.add_mutually_exclusive_group(required=True)
    model.add_argument("--model", type=Path, help="a checkpoint folder")
    model.add_argument("--random", choices=sorted(SHAPES), help="a random-weight model of this shape")
    parser.add_argument("--tensor-parallel-degree", type=int, default=1)
    parser.add_argument("--dtype", default="bfloat16", choices=tuple(DTYPES))
    parser.add_argument("--batch", type=_numbers, default=(1, 4, 16), help="requests at once, as in 1,4,16")
    parser.add_argument("--prompt-tokens", type=int, default=128)
    parser.add_argument("--new-tokens", type=int, default=64)
    parser.add_argument("--temperature", type=float, default=0.6, help="0: greedy")
    parser.add_argument("--top-k", type=int, default=40, help="0: all tokens")
    parser.add_argument("--top-p", type=float, default=1.0)
    parser.add_argument("--repetition-penalty", type=float, default=1.0)
    parser.add_argument(
        "--workload", choices=("random", "quote"), default="random", help="quote: replies quote prompts"
    )
    parser.add_argument(
        "--beside", choices=("greedy", "undrafted"), default="", help="time this too, in turns with what is asked for"
    )
    parser.add_argument("--json", type=Path, help="write the report here")
    parser.add_argument("--compare", nargs="+", action="append", default=[], metavar="RIVAL", help=_RIVALS_HELP)
    arguments = parser.parse_args(words)
    for rival in arguments.compare:
        if not _is_rival(rival):
            parser.error(f"--compare {' '.join(rival)}: legal are {_RIVALS_HELP}, each after its own flag")
    if arguments.model and not (arguments.model / "tokenizer.json").is_file():
        parser.error(
            f"--model {arguments.model}: tokenizer.json is missing there; save the tokenizer in its fast form beside "
            "the checkpoint"
        )
    return arguments


def _is_rival(words: list[str]) -> bool:
    if words[0] == "openai":
        return len(words) == 2
    if len(words) == 2:
        return words[0] == LLAMA_CPP and words[1].endswith(".gguf")
    return len(words) == 1 and words[0] in ("transformers", *RIVAL_SERVERS)


def _work(arguments: argparse.Namespace) -> Work:
    sampling = wire.Sampling(
        do_sample=arguments.temperature > 0,
        temperature=arguments.temperature,
        top_k=arguments.top_k,
        top_p=arguments.top_p,
        repetition_penalty=arguments.repetition_penalty,
    )
    return Work(
        arguments.batch,
        arguments.prompt_tokens,
        arguments.new_tokens,
        started_at=0.0,
        sampling=sampling,
        quotes=arguments.workload == "quote",
        beside=arguments.beside,
    )


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split(","))


def _compare(arguments: argparse.Namespace, folder: Path, work: Work, report: dict[str, Any]) -> None:
    """Time every rival; one that does not start or answer is named in the report, and costs no figure of another's."""
    report["compare"], report["not_compared"] = {}, {}
    for rival in arguments.compare:
        try:
            rows = _times(rival, folder, work, dtype=arguments.dtype, device=report["device"])
            report["compare"][" on ".join((rival[0], *(Path(file).name for file in rival[1:])))] = rows
        except (RuntimeError, OSError) as error:
            report["not_compared"][" ".join(rival)] = str(error)
            sys.stderr.write(f"{error}\n")


def _times(rival: list[str], folder: Path, work: Work, dtype: str, device: str) -> list[dict[str, float]]:
    if rival == ["transformers"]:
        return time_transformers(folder, dtype, work, device=device)
    if rival[0] not in RIVAL_SERVERS:
        return time_openai(rival[1], work)
    window = work.prompt_tokens + work.new_tokens + 32
    theirs = Path(rival[1]) if len(rival) == 2 else folder
    with rival_server(rival[0], theirs, free_loopback_port(), most_at_once=max(work.batches), window=window) as url:
        return time_openai(url, work)


def _print(report: dict[str, Any]) -> None:
    machine = report["machine"]
    print(f"{report['command']}\n{machine['cpu']}, {machine['cores']} cores, {report['date']}")
    for name, rows in {"this engine": report["results"], **report["compare"]}.items():
        print(f"{name}\nbatch prefill tok/s decode tok/s first tok, s   overhead")
        for row in rows:
            overhead = row.get("step_overhead_fraction")
            figures = (row["prefill_tokens_per_s"], row["decode_tokens_per_s"], row["time_to_first_token_s"])
            print(_ROW.format(int(row["batch"]), *figures, "" if overhead is None else f"{overhead:.1%}"))
    for row in report["results"]:
        limit, by = row["decode_limit_tokens_per_s"], row["decode_limited_by"]
        print(f"batch {int(row['batch'])}: decode at {row['decode_tokens_per_s'] / limit:.2f} of what {by} allows")
        for name, ratio in row.items():
            if name.startswith("over_"):
                print(f"batch {int(row['batch'])}: {ratio:.3f} times {name.removeprefix('over_')}")
    print(f"start to first token {report['start_to_first_token_s']:.1f} s, peak memory of all ranks", end=" ")
    print(f"{report['peak_memory_bytes'] / 2**20:.0f} MiB (shared pages counted in each)")
    if report["read_limit_fraction"]:
        gigabytes = report["read_bandwidth_bytes_per_s"] / 1e9
        print(f"{report['read_limit_fraction']:.2f} of what {gigabytes:.1f} GB/s of reading allows at batch 1")
    if report["second_turn"]:
        turn = report["second_turn"]
        print(f"second turn of {turn['tokens']} tokens: {turn['second_s']:.3f} s to its first token", end=" ")
        print(f"against {turn['first_s']:.3f} s, {turn['fraction']:.1%}")


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))  # so that ranks and rivals end, too
    sys.exit(main())
