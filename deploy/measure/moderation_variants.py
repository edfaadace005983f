"""What is made of cases to see what a judge overlooks: disguises of the bad ones, and places among harmless ones."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import replace

from deploy.measure.disguises import DISGUISES
from deploy.measure.moderation_cases import Case, Judged
from deploy.measure.moderation_report import Share

_AROUND = 20  # harmless sentences around a bad one
_PLACES = {"first": 0.0, "a quarter in": 0.25, "in the middle": 0.5, "three quarters in": 0.75, "last": 1.0}
_LENGTHS = (1, 3, 8, 40)  # harmless sentences on both sides together, the bad one in the middle
_SEED = 7


def with_variants(cases: Sequence[Case], most: int) -> list[Case]:
    """`cases`, then variants of at most `most` bad ones, and harmless ones joined in texts of 20. Seeded."""
    rng = random.Random(_SEED)
    bad = [case for case in cases if case.is_bad]
    harmless = [case for case in cases if not case.is_bad and case.kind in ("", "ordinary")]
    chosen = rng.sample(bad, min(most, len(bad)))
    return [*cases, *_disguised(chosen), *(_buried(chosen, harmless, rng) if harmless else ())]


def _disguised(bad: Sequence[Case]) -> Iterator[Case]:
    for name, disguise in DISGUISES.items():
        for case in bad:
            yield replace(case, text=disguise(case.text), variant=f"disguise: {name}")


def _buried(bad: Sequence[Case], harmless: Sequence[Case], rng: random.Random) -> Iterator[Case]:
    for place, share in _PLACES.items():
        for case in bad:
            yield _among(case, rng.choices(harmless, k=_AROUND), share, variant=f"among {_AROUND}: {place}")
    for length in _LENGTHS:
        for case in bad:
            yield _among(case, rng.choices(harmless, k=length), 0.5, variant=f"in the middle of {length} sentences")
    for _ in bad:
        around = rng.choices(harmless, k=_AROUND)
        text = " ".join(each.text for each in around)
        yield replace(around[0], text=text, variant=f"{_AROUND} harmless sentences")


def _among(case: Case, around: Sequence[Case], share: float, variant: str) -> Case:
    texts = [each.text for each in around]
    texts.insert(round(share * len(texts)), case.text)
    return replace(case, text=" ".join(texts), variant=variant)


def shares(judged: Sequence[Judged]) -> dict[str, Share]:
    """The share that was blocked of each kind of plain cases, then of each variant, in the order they were made."""
    groups: dict[str, list[bool]] = {}
    for each in judged:
        groups.setdefault(each.case.group, []).append(each.blocked)
    return {name: Share(sum(blocked), len(blocked)) for name, blocked in groups.items()}


def should_block(judged: Sequence[Judged]) -> dict[str, bool]:
    """Of each group of `shares`, whether its texts ought to be blocked."""
    return {each.case.group: each.case.is_bad for each in judged}
