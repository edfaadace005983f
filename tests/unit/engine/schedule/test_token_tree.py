"""The label tree: each shared token once, each row where it belongs."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from server.engine.schedule.token_tree import CONTEXT_ROW, TokenTree, TreeRun
from tests.unit.engine.toy_runner import log_prob, solo_log_probs, solo_states, state_of

CANDIDATES = st.lists(
    st.lists(st.integers(0, 2), min_size=1, max_size=6).map(tuple), min_size=1, max_size=12, unique=True
).map(tuple)


def test_one_token_candidates_need_no_tokens_of_their_own() -> None:
    tree = TokenTree(((5,), (6,)))
    assert tree.runs == ()
    assert tree.targets == ((CONTEXT_ROW, 5), (CONTEXT_ROW, 6))
    assert (tree.num_tokens, tree.max_depth) == (0, 0)


def test_shared_beginnings_are_computed_once_and_last_tokens_never() -> None:
    tree = TokenTree(((1, 2, 3), (1, 2, 4), (1, 5, 6), (7,)))
    assert tree.runs == (
        TreeRun(tokens=(1, 2), first=0, depth=1, ancestors=()),
        TreeRun(tokens=(5,), first=2, depth=2, ancestors=(0,)),
    )
    assert tree.targets == ((-1, 1), (0, 2), (1, 3), (-1, 1), (0, 2), (1, 4), (-1, 1), (0, 5), (2, 6), (-1, 7))


def test_a_candidate_may_begin_another() -> None:
    tree = TokenTree(((1, 2), (1,), (1, 2, 3)))
    assert tree.runs == (TreeRun(tokens=(1, 2), first=0, depth=1, ancestors=()),)
    assert tree.by_candidate([0.1, 0.2, 0.3, 0.4, 0.5, 0.6]) == ((0.1, 0.2), (0.3,), (0.4, 0.5, 0.6))


def test_branches_off_a_long_run_see_only_their_own_ancestors() -> None:
    tree = TokenTree(((1, 2, 3, 4), (1, 2, 8, 9), (1, 6, 7), (5, 5)))
    assert [(run.tokens, run.first, run.depth, run.ancestors) for run in tree.runs] == [
        ((1, 2, 3), 0, 1, ()),
        ((8,), 3, 3, (0, 1)),
        ((6,), 4, 2, (0,)),
        ((5,), 5, 1, ()),
    ]
    assert tree.max_depth == 3


@pytest.mark.parametrize(
    ("candidates", "message"),
    [((), "none given"), (((1,), ()), r"candidates\[1\] has no tokens"), (((1,), (2,), (1,)), r"\[2\] repeats")],
)
def test_unusable_candidates_are_refused(candidates: tuple[tuple[int, ...], ...], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        TokenTree(candidates)


@given(CANDIDATES)
@settings(max_examples=200, deadline=None, derandomize=True)
def test_runs_in_order_hold_every_inner_node_once_behind_its_ancestors(candidates: tuple[tuple[int, ...], ...]) -> None:
    tree = TokenTree(candidates)
    paths: list[tuple[int, ...]] = []
    for run in tree.runs:
        assert run.first == len(paths)
        assert all(ancestor < run.first for ancestor in run.ancestors)
        above = paths[run.ancestors[-1]] if run.ancestors else ()
        assert [paths[ancestor] for ancestor in run.ancestors] == [above[:n] for n in range(1, len(above) + 1)]
        assert run.depth == len(above) + 1
        paths.extend((*above, *run.tokens[: n + 1]) for n in range(len(run.tokens)))
    assert tree.num_tokens == len(paths) == len(set(paths))
    assert set(paths) == {candidate[:n] for candidate in candidates for n in range(1, len(candidate))}


@given(CANDIDATES, st.lists(st.integers(0, 9), min_size=1, max_size=8).map(tuple))
@settings(max_examples=200, deadline=None, derandomize=True)
def test_the_tree_gives_what_each_candidate_alone_gives(
    candidates: tuple[tuple[int, ...], ...], context: tuple[int, ...]
) -> None:
    tree = TokenTree(candidates)
    before = solo_states(context)
    rows: list[int] = []
    for run in tree.runs:
        visible = [*before, *(rows[ancestor] for ancestor in run.ancestors)]
        for offset, token in enumerate(run.tokens):
            rows.append(state_of(token, len(context) + run.depth - 1 + offset, visible))
            visible.append(rows[-1])
    row_of = [*rows, before[-1]]  # CONTEXT_ROW counts from the end
    values = [log_prob(row_of[source], token) for source, token in tree.targets]
    assert tree.by_candidate(values) == solo_log_probs(context, candidates)
