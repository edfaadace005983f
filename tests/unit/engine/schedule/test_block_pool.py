"""The block pool: what is shared, what is kept, what is evicted, and that nothing is lost."""

from __future__ import annotations

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, initialize, invariant, multiple, rule

from server.engine.schedule.block_pool import NO_PARENT, BlockPool, chain_digest, chain_digests

BLOCK_TOKENS = 2


def registered_chain(pool: BlockPool, tokens: tuple[int, ...]) -> list[int]:
    """Blocks for the full blocks of `tokens`, computed and offered for reuse, held by the caller."""
    digests = chain_digests(tokens, pool.block_tokens)
    blocks = pool.find_prefix(digests)
    pool.hold(blocks)
    for index in range(len(blocks), len(digests)):
        (block,) = pool.take_blocks(1)
        parent = digests[index - 1] if index else NO_PARENT
        blocks.append(pool.register(block, parent, digests[index]))
    return blocks


def test_a_released_chain_is_found_again_by_its_tokens() -> None:
    pool = BlockPool(8, BLOCK_TOKENS)
    blocks = registered_chain(pool, (1, 2, 3, 4, 5, 6))
    pool.release(blocks)
    assert pool.find_prefix(chain_digests((1, 2, 3, 4, 5, 6), BLOCK_TOKENS)) == blocks
    assert pool.find_prefix(chain_digests((1, 2, 3, 4, 9, 9), BLOCK_TOKENS)) == blocks[:2]


def test_the_same_tokens_behind_another_prefix_are_another_content() -> None:
    pool = BlockPool(8, BLOCK_TOKENS)
    registered_chain(pool, (1, 2, 3, 4))
    assert pool.find_prefix(chain_digests((3, 4), BLOCK_TOKENS)) == []
    assert pool.find_prefix(chain_digests((9, 9, 3, 4), BLOCK_TOKENS)) == []


def test_token_ids_are_not_confused_by_their_bytes() -> None:
    names = {chain_digest(NO_PARENT, tokens) for tokens in ((1,), (256,), (1, 0), (0, 1), (65536,), (2**32,))}
    assert len(names) == 6


def test_looking_changes_nothing() -> None:
    pool = BlockPool(4, BLOCK_TOKENS)
    old = registered_chain(pool, (1, 2))
    new = registered_chain(pool, (3, 4))
    pool.release(old)
    pool.release(new)
    assert pool.find_prefix(chain_digests((1, 2), BLOCK_TOKENS)) == old
    pool.take_blocks(3)
    assert pool.find_prefix(chain_digests((1, 2), BLOCK_TOKENS)) == [], "the oldest goes first, looked at or not"
    assert pool.find_prefix(chain_digests((3, 4), BLOCK_TOKENS)) == new


def test_free_blocks_are_taken_before_cached_ones() -> None:
    pool = BlockPool(4, BLOCK_TOKENS)
    cached = registered_chain(pool, (1, 2, 3, 4))
    pool.release(cached)
    assert not set(pool.take_blocks(2)) & set(cached)


def test_a_chain_is_evicted_from_its_deep_end() -> None:
    pool = BlockPool(4, BLOCK_TOKENS)
    tokens = (1, 2, 3, 4, 5, 6, 7, 8)
    blocks = registered_chain(pool, tokens)
    pool.release(blocks)
    for num_left in (3, 2, 1, 0):
        pool.take_blocks(1)
        assert pool.find_prefix(chain_digests(tokens, BLOCK_TOKENS)) == blocks[:num_left]


def test_a_prefix_in_use_keeps_its_place_while_another_conversation_is_evicted() -> None:
    pool = BlockPool(6, BLOCK_TOKENS)
    first = registered_chain(pool, (1, 2, 3, 4, 5, 6))
    pool.release(first)
    second = registered_chain(pool, (7, 8, 9, 10))
    pool.release(second)
    again = registered_chain(pool, (1, 2, 3, 4))
    pool.release(again)
    pool.take_blocks(3)
    assert pool.find_prefix(chain_digests((1, 2, 3, 4), BLOCK_TOKENS)) == first[:2]
    assert len(pool.find_prefix(chain_digests((7, 8, 9, 10), BLOCK_TOKENS))) == 1


def test_two_sequences_that_computed_the_same_content_end_up_sharing_it() -> None:
    pool = BlockPool(4, BLOCK_TOKENS)
    digests = chain_digests((1, 2), BLOCK_TOKENS)
    first, second = pool.take_blocks(2)
    assert pool.register(first, NO_PARENT, digests[0]) == first
    assert pool.register(second, NO_PARENT, digests[0]) == first
    pool.check([[first], [first]])
    assert pool.num_free_blocks == 3


def test_pinned_blocks_outlive_any_pressure() -> None:
    pool = BlockPool(4, BLOCK_TOKENS)
    blocks = registered_chain(pool, (1, 2, 3, 4))
    pool.pin(blocks)
    pool.release(blocks)
    assert pool.num_free_blocks == 2
    pool.take_blocks(2)
    assert not pool.has_room_for(1)
    assert pool.find_prefix(chain_digests((1, 2, 3, 4), BLOCK_TOKENS)) == blocks
    pool.unpin(blocks)
    assert pool.has_room_for(2)


def test_room_counts_the_cached_blocks_that_reuse_will_hold() -> None:
    pool = BlockPool(4, BLOCK_TOKENS)
    blocks = registered_chain(pool, (1, 2, 3, 4))
    pool.release(blocks)
    assert pool.has_room_for(4)
    assert pool.has_room_for(2, beside=blocks)
    assert not pool.has_room_for(3, beside=blocks)


def test_the_check_finds_a_lost_block_and_a_wrong_holder() -> None:
    pool = BlockPool(4, BLOCK_TOKENS)
    blocks = pool.take_blocks(2)
    pool.check([blocks])
    with pytest.raises(AssertionError, match="holders"):
        pool.check([blocks[:1]])
    with pytest.raises(AssertionError, match="pins"):
        pool.check([blocks], pinned=[blocks])
    pool._free.pop()
    with pytest.raises(AssertionError, match="total 4"):
        pool.check([blocks])


@pytest.mark.parametrize(("num_blocks", "block_tokens"), [(0, 16), (4, 0)])
def test_a_pool_without_slots_is_refused(num_blocks: int, block_tokens: int) -> None:
    with pytest.raises(ValueError, match="at least 1"):
        BlockPool(num_blocks, block_tokens)


class PoolMachine(RuleBasedStateMachine):
    """Chains from a tiny alphabet are built, shared, pinned and released in any order."""

    chains = Bundle("chains")
    pins = Bundle("pins")

    def __init__(self) -> None:
        super().__init__()
        self.tables: list[list[int]] = []
        self.pinned: list[list[int]] = []
        self.content: dict[int, tuple[int, ...]] = {}

    @initialize(num_blocks=st.integers(1, 12))
    def start(self, num_blocks: int) -> None:
        self.pool = BlockPool(num_blocks, BLOCK_TOKENS)

    @rule(target=chains, tokens=st.lists(st.integers(0, 1), max_size=10).map(tuple))
    def take_chain(self, tokens: tuple[int, ...]):
        digests = chain_digests(tokens, BLOCK_TOKENS)
        reused = self.pool.find_prefix(digests)
        for index, block in enumerate(reused):
            assert self.content[block] == tokens[: (index + 1) * BLOCK_TOKENS], "another conversation's block"
        if not self.pool.has_room_for(len(digests) - len(reused), beside=reused):
            return multiple()
        self.pool.hold(reused)
        table = [*reused, *self.pool.take_blocks(len(digests) - len(reused))]
        for index in range(len(reused), len(digests)):
            self.content[table[index]] = tokens[: (index + 1) * BLOCK_TOKENS]
            parent = digests[index - 1] if index else NO_PARENT
            table[index] = self.pool.register(table[index], parent, digests[index])
        self.tables.append(table)
        return table

    @rule(target=chains, num_blocks=st.integers(1, 4))
    def take_unregistered(self, num_blocks: int):
        if not self.pool.has_room_for(num_blocks):
            return multiple()
        self.tables.append(self.pool.take_blocks(num_blocks))
        return self.tables[-1]

    @rule(table=consumes(chains))
    def release(self, table: list[int]) -> None:
        self.tables = [other for other in self.tables if other is not table]
        self.pool.release(table)

    @rule(target=pins, table=chains)
    def pin(self, table: list[int]) -> list[int]:
        self.pinned.append(list(table))
        self.pool.pin(table)
        return self.pinned[-1]

    @rule(blocks=consumes(pins))
    def unpin(self, blocks: list[int]) -> None:
        self.pinned = [other for other in self.pinned if other is not blocks]
        self.pool.unpin(blocks)

    @invariant()
    def nothing_is_lost(self) -> None:
        self.pool.check(self.tables, self.pinned)
        held = {block for table in (*self.tables, *self.pinned) for block in table}
        assert self.pool.num_free_blocks == self.pool.num_blocks - len(held)


TestPoolMachine = PoolMachine.TestCase
TestPoolMachine.settings = settings(max_examples=60, stateful_step_count=40, deadline=None, derandomize=True)


def test_blocks_that_are_taken_together_are_in_order_however_they_came_back() -> None:
    pool = BlockPool(12, 4)
    first, second = pool.take_blocks(5), pool.take_blocks(5)
    pool.release(second[1:4])
    pool.release(first[::2])
    taken = pool.take_blocks(7)
    assert taken == sorted(taken)
