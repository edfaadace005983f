"""Ranks get cores of their own where there are enough."""

from __future__ import annotations

from server.engine.parallel.placement import cores_of


def test_ranks_share_the_cores_out_without_overlap() -> None:
    cores = [2, 3, 6, 7]
    assert [cores_of(rank, 2, 2, cores) for rank in range(2)] == [[2, 3], [6, 7]]
    assert [cores_of(rank, 4, 1, cores) for rank in range(4)] == [[2], [3], [6], [7]]


def test_a_group_that_leaves_cores_to_others_is_not_tied() -> None:
    """With a quota of 8 cores on a machine of 64, every group would tie itself to the same first eight."""
    assert cores_of(0, 4, 2, list(range(64))) is None
    assert cores_of(1, 3, 2, list(range(8))) == [2, 3]  # three ranks cannot use eight cores evenly


def test_a_single_rank_and_ranks_without_enough_cores_are_not_tied() -> None:
    assert cores_of(0, 1, 2, [0, 1]) is None
    assert cores_of(3, 4, 1, [0, 1]) is None
