"""One model's block pool as its sequences use it: admission with reuse, growth, registration, pinned prefixes."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable

from server.engine.schedule.block_pool import NO_PARENT, BlockPool
from server.engine.schedule.sequence import TokenSequence


class ModelBlocks:
    """Moves blocks between a pool and sequences. Pinned prefixes never take more than half of the pool."""

    def __init__(self, pool: BlockPool, *, prefix_reuse: bool, max_pinned_prefixes: int) -> None:
        self.pool = pool
        self.num_cached_tokens = 0  # total that newly admitted sequences did not have to compute
        self._prefix_reuse = prefix_reuse
        self._max_pinned_prefixes = max_pinned_prefixes
        self._pinned: OrderedDict[bytes, tuple[int, ...]] = OrderedDict()  # by last digest, least recently used first
        self._num_pinned_blocks = 0

    def has_room_for(self, sequence: TokenSequence, num_entries: int, num_reserved: int = 0) -> bool:
        """Whether `admit` would succeed and leave `num_reserved` blocks free."""
        reused = self._find_reusable(sequence)
        num_missing = self.pool.num_blocks_for(num_entries) - len(reused)
        return self.pool.has_room_for(num_missing + num_reserved, beside=reused)

    def under_way(self, sequences: Iterable[TokenSequence]) -> set[bytes]:
        """Names of the full blocks that `sequences` hold and have yet to compute."""
        if not self._prefix_reuse:
            return set()
        size = self.pool.block_tokens
        return {
            digest
            for each in sequences
            for digest in each.digests(each.num_known_tokens // size, size)[each.num_computed_tokens // size :]
        }

    def first_missing(self, sequence: TokenSequence) -> bytes | None:
        """The name of the first full block that `sequence` would have to compute; None when it has all of them."""
        size = self.pool.block_tokens
        num_full = min(sequence.num_tokens - 1, sequence.num_known_tokens) // size
        digests = sequence.digests(num_full, size)
        num_found = len(self._find_reusable(sequence))
        return digests[num_found] if num_found < num_full else None

    def admit(self, sequence: TokenSequence, num_entries: int) -> None:
        """Give `sequence` blocks for `num_entries`, reusing computed ones; the caller knows that there is room."""
        reused = self._find_reusable(sequence)
        self.pool.hold(reused)
        sequence.add_blocks(reused)
        sequence.add_blocks(self.pool.take_blocks(self.pool.num_blocks_for(num_entries) - len(reused)))
        sequence.num_computed_tokens = len(reused) * self.pool.block_tokens
        sequence.num_registered_blocks = len(reused)
        if not sequence.was_admitted:
            sequence.was_admitted = True
            sequence.num_cached_tokens = sequence.num_computed_tokens
            self.num_cached_tokens += sequence.num_cached_tokens

    def grow_by(self, sequence: TokenSequence, num_entries: int) -> int:
        """Give blocks to the next `num_entries`, as far as there are any; how many of them have one."""
        missing = self.pool.num_blocks_for(sequence.num_computed_tokens + num_entries) - len(sequence.blocks)
        if missing > 0:
            sequence.add_blocks(self.pool.take_blocks(min(missing, self.pool.num_free_blocks)))
        return min(num_entries, len(sequence.blocks) * self.pool.block_tokens - sequence.num_computed_tokens)

    def forget(self, sequence: TokenSequence) -> None:
        """Never reuse what is in the blocks of `sequence`, nor what was computed from it."""
        forgotten = self.pool.forget(sequence.blocks)
        for name, blocks in list(self._pinned.items()):
            if forgotten.intersection(blocks):
                self.pool.unpin(self._pinned.pop(name))
                self._num_pinned_blocks -= len(blocks)

    def advance(self, sequence: TokenSequence, num_tokens: int) -> None:
        """Note that the step just planned computes `num_tokens` more."""
        sequence.num_computed_tokens += num_tokens
        self.register_full(sequence)

    def register_full(self, sequence: TokenSequence) -> None:
        """Offer each block that became full of known tokens for reuse. Steps run in order: a later one may read it."""
        block_tokens = self.pool.block_tokens
        first = sequence.num_registered_blocks
        num_full = min(sequence.num_computed_tokens, sequence.num_known_tokens) // block_tokens
        if not self._prefix_reuse or first >= num_full:
            return
        sequence.num_registered_blocks = num_full
        digests = sequence.digests(num_full, block_tokens)
        for index in range(first, num_full):
            parent = digests[index - 1] if index else NO_PARENT
            block = sequence.blocks[index]
            shared = self.pool.register(block, parent, digests[index])
            if shared != block:
                sequence.replace_block(index, shared)

    def release(self, sequence: TokenSequence) -> None:
        """Take all blocks back; what is registered stays cached."""
        self.pool.release(sequence.drop_blocks())

    def pin_prefix(self, sequence: TokenSequence, num_prefix_tokens: int) -> None:
        """Keep the full blocks of a computed prefix from eviction; the least recently used prefixes make room."""
        num_blocks = num_prefix_tokens // self.pool.block_tokens
        most = self.pool.num_blocks // 2
        if not self._prefix_reuse or not num_blocks or num_blocks > most:
            return
        name = sequence.digests(num_blocks, self.pool.block_tokens)[-1]
        if name in self._pinned:
            self._pinned.move_to_end(name)
            return
        while self._pinned and (
            len(self._pinned) >= self._max_pinned_prefixes or self._num_pinned_blocks + num_blocks > most
        ):
            self._unpin_oldest()
        if self._max_pinned_prefixes:
            self._pinned[name] = tuple(sequence.blocks[:num_blocks])
            self.pool.pin(self._pinned[name])
            self._num_pinned_blocks += num_blocks

    def unpin_for(self, sequence: TokenSequence, num_entries: int) -> None:
        """Unpin prefixes, least recently used first, until `admit` would succeed; no other sequence holds blocks."""
        while not self.has_room_for(sequence, num_entries):
            self._unpin_oldest()

    def check(self, sequences: Iterable[TokenSequence]) -> None:
        """Prove the pool's invariants against all live sequences of the model. Raises AssertionError."""
        sequences = tuple(sequences)
        for each in sequences:
            assert each.num_computed_tokens <= len(each.blocks) * self.pool.block_tokens, each
            assert each.block_table == tuple(each.blocks), each
        self.pool.check((each.blocks for each in sequences), self._pinned.values())
        assert self._num_pinned_blocks == sum(map(len, self._pinned.values()))

    def _find_reusable(self, sequence: TokenSequence) -> list[int]:
        """Computed blocks of the same content; never the last token's, so that there are logits."""
        if not self._prefix_reuse:
            return []
        block_tokens = self.pool.block_tokens
        num_full = min(sequence.num_tokens - 1, sequence.num_known_tokens) // block_tokens
        return self.pool.find_prefix(sequence.digests(num_full, block_tokens))

    def _unpin_oldest(self) -> None:
        _, blocks = self._pinned.popitem(last=False)
        self._num_pinned_blocks -= len(blocks)
        self.pool.unpin(blocks)
