"""Candidate continuations as a trie, laid out so that each shared token is computed once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice

CONTEXT_ROW = -1  # the row of the context's last token, in place of a flat index


@dataclass(frozen=True)
class TreeRun:
    """A chain of nodes, each the child of the one before, with consecutive flat indices from `first`."""

    tokens: tuple[int, ...]
    first: int
    depth: int  # of the first token; a candidate's first token has depth 1
    ancestors: tuple[int, ...]  # flat indices, root first


class TokenTree:
    """The nodes that must be computed to know every candidate token's log-probability.

    A token's log-probability comes from the row of the token before it, so a candidate's last token is computed only
    where a longer candidate goes through it. Flat indices number the computed nodes depth first.

    Attributes:
        candidates: as given.
        runs: the computed nodes; together they hold flat indices [0, num_tokens) in order.
        num_tokens: how many nodes are computed.
        max_depth: of the computed nodes, 0 when there are none.
        targets: for each token of each candidate in turn: the flat index whose row gives its log-probability, or
            CONTEXT_ROW, and the token id to look up there.

    Raises:
        ValueError: no candidates, an empty one, or one given twice.
    """

    def __init__(self, candidates: Sequence[tuple[int, ...]]) -> None:
        self.candidates = tuple(candidates)
        _refuse_unusable(self.candidates)
        children = _interior_children(self.candidates)
        self.runs = _runs(children)
        self.num_tokens = sum(len(run.tokens) for run in self.runs)
        self.max_depth = max((run.depth + len(run.tokens) - 1 for run in self.runs), default=0)
        index_of = _flat_indices(self.runs)
        self.targets = tuple(
            (index_of[candidate[:depth]], token)
            for candidate in self.candidates
            for depth, token in enumerate(candidate)
        )

    def by_candidate(self, values: Sequence[float]) -> tuple[tuple[float, ...], ...]:
        """`values`, one for each of `targets`, as [candidate][token]."""
        assert len(values) == sum(map(len, self.candidates)), len(values)
        rest = iter(values)
        return tuple(tuple(islice(rest, len(candidate))) for candidate in self.candidates)


def _refuse_unusable(candidates: tuple[tuple[int, ...], ...]) -> None:
    if not candidates:
        raise ValueError("candidates: none given, at least one is needed.")
    for number, candidate in enumerate(candidates):
        if not candidate:
            raise ValueError(f"candidates[{number}] has no tokens, at least one is needed.")
        if candidate in candidates[:number]:
            raise ValueError(f"candidates[{number}] repeats candidates[{candidates.index(candidate)}].")


def _interior_children(candidates: tuple[tuple[int, ...], ...]) -> dict[tuple[int, ...], list[int]]:
    """Per path from the root that a candidate goes through: the next tokens that have a token after them."""
    children: dict[tuple[int, ...], list[int]] = {(): []}
    for candidate in candidates:
        for depth in range(1, len(candidate)):
            path = candidate[:depth]
            if path not in children:
                children[path] = []
                children[path[:-1]].append(path[-1])
    return children


def _runs(children: dict[tuple[int, ...], list[int]]) -> tuple[TreeRun, ...]:
    """Depth first: a run follows first children to the end, the other children begin runs of their own."""
    runs: list[TreeRun] = []
    num_tokens = 0
    starts: list[tuple[tuple[int, ...], tuple[int, ...]]] = [((token,), ()) for token in reversed(children[()])]
    while starts:
        path, ancestors = starts.pop()
        first, depth, branches = num_tokens, len(path), []
        while True:
            flat = num_tokens
            num_tokens += 1
            inner = children[path]
            above = (*ancestors, *range(first, flat + 1))
            branches.append([((*path, token), above) for token in reversed(inner[1:])])
            if not inner:
                break
            path = (*path, inner[0])
        runs.append(TreeRun(path[depth - 1 :], first, depth, ancestors=ancestors))
        starts.extend(start for siblings in branches for start in siblings)
    return tuple(runs)


def _flat_indices(runs: tuple[TreeRun, ...]) -> dict[tuple[int, ...], int]:
    """Flat index of each computed node, by its path; the root stands for the context."""
    index_of: dict[tuple[int, ...], int] = {(): CONTEXT_ROW}
    path_of: dict[int, tuple[int, ...]] = {CONTEXT_ROW: ()}
    for run in runs:
        parent = run.ancestors[-1] if run.ancestors else CONTEXT_ROW
        for offset, token in enumerate(run.tokens):
            path = (*path_of[parent], token)
            parent = run.first + offset
            index_of[path], path_of[parent] = parent, path
    return index_of
