"""python -m server.engine.bench.document: writes the figures of `figures/*.json` into BENCH.md, between its marks.

Each file is a report of `python -m server.engine.bench --json`, or of `bench.products`; its name is the mark's.
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
        made = products_as_markdown(report) if "microseconds" in report else as_markdown(report)
        return f"{mark[1]}{made}{mark[3]}"

    return _MARK.sub(table, document)


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
