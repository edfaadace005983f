"""What a moderation checkpoint blocks of cases files, plain, disguised and buried, in one process: the share blocked of
each group with Wilson's 95 % interval. A policy.toml beside the checkpoint is what it is judged by.

python -m container.demo.evaluate.cases container/demo/moderation tests/data/moderation/fresh.jsonl --variants 40
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

import torch

from container.defaults import POLICY_FILE
from container.demo.evaluate.local_judge import local_moderator
from deploy.measure.moderation_cases import Case, Judged, read_cases
from deploy.measure.moderation_variants import shares, should_block, with_variants
from server.chat.moderation.moderator import Moderator
from server.chat.moderation.policy import Role
from server.chat.moderation.policy_file import DEFAULT_POLICY

_AT_ONCE = 32


def judge(moderator: Moderator, cases: Sequence[Case]) -> list[Judged]:
    """The verdicts on `cases`, in order."""
    judged: list[Judged] = []
    for first in range(0, len(cases), _AT_ONCE):
        some = cases[first : first + _AT_ONCE]
        verdicts = moderator.judge([case.text for case in some], Role.INPUT)
        judged += [Judged(c, v.label, dict(v.scores), blocked=v.blocked) for c, v in zip(some, verdicts, strict=True)]
    return judged


def _policy_of(checkpoint: Path) -> Path:
    own = checkpoint / POLICY_FILE
    return own if own.is_file() else DEFAULT_POLICY


def main(arguments: argparse.Namespace) -> int:
    """Judge and print."""
    torch.set_num_threads(arguments.threads)
    cases = [case for path in arguments.cases for case in read_cases(path, ["needs intervention"])]
    asked = with_variants(cases, arguments.variants) if arguments.variants else cases
    judged = judge(local_moderator(arguments.checkpoint, arguments.policy or _policy_of(arguments.checkpoint)), asked)
    found, bad = shares(judged), should_block(judged)
    for name, share in found.items():
        print(f"{'block' if bad[name] else 'allow'}  {name:<40} {share}")
    if arguments.json:
        rows = {name: {"blocked": s.hits, "texts": s.total, "interval": s.interval} for name, s in found.items()}
        arguments.json.write_text(json.dumps(rows, indent=2) + "\n", "utf-8")
    if arguments.mistakes:
        wrong = [each for each in judged if each.blocked != each.case.is_bad]
        print("\n".join(f"{each.case.group}: {each.case.text} -> {each.label}" for each in wrong))
    return 0


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("cases", type=Path, nargs="+", help="JSON lines with text, blocked and kind")
    parser.add_argument(
        "--policy", type=Path, help="the policy file; default: the checkpoint's own, else OpenChatKit's"
    )
    parser.add_argument("--variants", type=int, help="bad texts that are also judged in every disguise and place")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--json", type=Path, help="write the counts here, too")
    parser.add_argument("--mistakes", action="store_true", help="also print every wrongly judged text")
    sys.exit(main(parser.parse_args()))
