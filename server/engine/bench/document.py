"""python -m server.engine.bench.document: writes the figures of `figures/*.json` into BENCH.md, between its marks.

Each file is a report of `python -m server.engine.bench --json`, of `bench.products`, or of `python -m deploy bench`
with `overload` or `slow-clients`; its name is the mark's.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

from server.engine.bench.products import as_table

_FOLDER = Path(__file__).parent
DOCUMENT = _FOLDER.parent / "BENCH.md"
FIGURES = _FOLDER / "figures"
_MARK = re.compile(r"(<!-- figures (?P<name>[\w.-]+) -->\n).*?(<!-- end -->)", re.DOTALL)
_HEAD = "| batch | decode, tokens/s | of the limit | prefill, tokens/s | of the limit | first token, s |"


def remade(document: str, figures: Path = FIGURES) -> str:
    """`document` with the tables between its marks made anew.

    Raises:
        FileNotFoundError: a mark without its file.
    """

    def table(mark: re.Match[str]) -> str:
        report = json.loads((figures / f"{mark['name']}.json").read_text("utf-8"))
        return f"{mark[1]}{_made(report)}{mark[3]}"

    return _MARK.sub(table, document)


def _made(report: dict[str, Any]) -> str:
    for field, made in (
        ("microseconds", products_as_markdown),
        ("goodput_of_best", overload_as_markdown),
        ("slow_clients", slow_clients_as_markdown),
    ):
        if field in report:
            return made(report)
    return as_markdown(report)


def overload_as_markdown(report: dict[str, Any]) -> str:
    """Each run, and what the overload is measured by."""
    overload = report["runs"][-1]
    rows = (
        f"| {run['load']} | {run['offered_per_s']:.1f} | {run['answered_per_s']:.2f} | {_at(run, 'whole_ms', 'p50')} | "
        f"{_at(run, 'whole_ms', 'p99')} | {run['refused']} | {_at(run, 'refused_ms', 'p99')} | "
        f"{run['resident_mb'][-1]} |"
        for run in report["runs"]
    )
    lines = [
        *_where(report),
        "| load | offered a second | answered a second | whole, p50 ms | p99 | refused | in p99 ms | memory, MB |",
        "|---|---|---|---|---|---|---|---|",
        *rows,
        "",
        f"Overloaded, it answers {report['goodput_of_best']:.3f} of its best; p99 of what is answered is "
        f"{report['whole_p99_of_capacity']:.2f} times that at capacity; memory grew by "
        f"{100 * report['memory_growth']:.1f} %."
        + (f" The load took {overload['generator_cores']:.2f} of a core." if "generator_cores" in overload else ""),
        "",
    ]
    return "\n".join(lines)


def slow_clients_as_markdown(report: dict[str, Any]) -> str:
    """A good client's times alone and beside the slow ones."""
    rows = (
        f"| {share} | {report['alone_ms'][share]:.1f} | {report['beside_ms'][share]:.1f} |"
        for share in report["delay_ms"]
    )
    head = f"| a good client's call, ms | alone | beside {report['slow_clients']} that drip |"
    return "\n".join([*_where(report), head, "|---|---|---|", *rows, ""])


def _where(report: dict[str, Any]) -> list[str]:
    machine = report["machine"]
    return ["", f"    {report['command']}", "", f"{machine['cpu']}, {machine['cores']} cores, {report['date']}.", ""]


def _at(run: dict[str, Any], times: str, share: str) -> str:
    return f"{run[times][share]:.0f}" if share in run[times] else "-"


def as_markdown(report: dict[str, Any]) -> str:
    """What was run, where, and a table of ours and of each rival's."""
    machine, sampling = report["machine"], report.get("sampling", {})
    drawn = (
        f"temperature {sampling['temperature']:g}, top_k {sampling['top_k']}" if sampling.get("do_sample") else "greedy"
    )
    lines = [
        "",
        f"    {report['command']}",
        "",
        f"{machine['cpu']}, {machine['cores']} cores, {report['date']}; {report['dtype']}, "
        f"{report['tensor_parallel_degree']} ranks, {drawn}; {_versions(report)}. Read from memory: "
        f"{report['read_bandwidth_bytes_per_s'] / 1e9:.1f} GB/s; products: {_rate(report['products_per_s'])}.",
        "",
        _HEAD,
        "|---|---|---|---|---|---|",
        *(_row(row) for row in report["results"]),
        "",
    ]
    for name, rows in report["compare"].items():
        lines += [f"{name}:", "", "| batch | decode, tokens/s | ours over it | prefill, tokens/s | ours over it |"]
        lines += ["|---|---|---|---|---|", *(_rival_row(row, report["results"]) for row in rows), ""]
    return "\n".join(lines)


def products_as_markdown(report: dict[str, Any]) -> str:
    """What `python -m server.engine.bench.products` measured."""
    where = f"{report['machine']['cpu']}, {report['level']}, {report['date']}"
    return f"\n    {report['command']}\n\n{where}:\n\n{as_table(report)}\n\n"


def _versions(report: dict[str, Any]) -> str:
    return ", ".join(f"{name} {version}" for name, version in report["versions"].items())


def _rate(products_per_s: float | None) -> str:
    return "not measured" if products_per_s is None else f"{products_per_s / 1e9:.0f} thousand million a second"


def _row(row: dict[str, Any]) -> str:
    decode, prefill = row["decode_tokens_per_s"], row["prefill_tokens_per_s"]
    share = f"{decode / row['decode_limit_tokens_per_s']:.2f} ({row['decode_limited_by']})"
    most = row["prefill_limit_tokens_per_s"]
    of_prefill = "" if most is None else f"{prefill / most:.2f}"
    first_s = row["time_to_first_token_s"]
    return f"| {row['batch']} | {decode:.1f} | {share} | {prefill:.0f} | {of_prefill} | {first_s:.3f} |"


def _rival_row(row: dict[str, Any], ours: list[dict[str, Any]]) -> str:
    same = next(each for each in ours if each["batch"] == row["batch"])
    decode, prefill = (f"{_tokens(row, kind)} | {_over(same, row, kind)}" for kind in ("decode", "prefill"))
    return f"| {row['batch']} | {decode} | {prefill} |"


def _tokens(row: dict[str, Any], kind: str) -> str:
    return f"{row[f'{kind}_tokens_per_s']:.1f}"


def _over(ours: dict[str, Any], theirs: dict[str, Any], kind: str) -> str:
    return f"{ours[f'{kind}_tokens_per_s'] / theirs[f'{kind}_tokens_per_s']:.2f}"


def main() -> int:
    """Rewrite BENCH.md."""
    DOCUMENT.write_text(remade(DOCUMENT.read_text("utf-8")), "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
