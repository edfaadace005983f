"""Fixed blocks of key and value slots: taken, shared by content, evicted."""

from __future__ import annotations

from array import array
from collections import Counter, OrderedDict
from collections.abc import Iterable, Sequence
from hashlib import blake2b

NO_PARENT = b""


def chain_digest(parent: bytes, tokens: Sequence[int]) -> bytes:
    """The name of a full block's content: its tokens and, through `parent`, every token before them.

    256 bits of a cryptographic hash, so that no two conversations meet under one name, by chance or by design.
    """
    return blake2b(array("Q", tokens).tobytes(), key=parent, digest_size=32).digest()


def chain_digests(tokens: Sequence[int], block_tokens: int) -> tuple[bytes, ...]:
    """`chain_digest` of each full block from the start of a sequence."""
    digests = [NO_PARENT]
    for stop in range(block_tokens, len(tokens) + 1, block_tokens):
        digests.append(chain_digest(digests[-1], tokens[stop - block_tokens : stop]))
    return tuple(digests[1:])


class BlockPool:
    """The blocks of one model, each `block_tokens` slots.

    A block is in exactly one state: free (no content worth keeping), held (by sequences or pins), or cached (content
    registered under its digest, held by nobody, evicted least recently used first when blocks run out). Whoever holds
    a registered block holds the blocks before it too, so a chain is evicted from its deep end.
    """

    def __init__(self, num_blocks: int, block_tokens: int) -> None:
        if num_blocks < 1 or block_tokens < 1:
            raise ValueError(f"num_blocks={num_blocks}, block_tokens={block_tokens}: at least 1 of each is legal.")
        self.num_blocks = num_blocks
        self.block_tokens = block_tokens
        self._free = list(range(num_blocks - 1, -1, -1))
        self._cached: OrderedDict[int, None] = OrderedDict()  # first to evict first
        self._num_holders = [0] * num_blocks  # pins included
        self._num_pins = [0] * num_blocks
        self._digest_of: list[bytes | None] = [None] * num_blocks
        self._parent_of: list[bytes] = [NO_PARENT] * num_blocks
        self._block_of: dict[bytes, int] = {}

    @property
    def num_free_blocks(self) -> int:
        """Blocks that `take_blocks` could hand out now, cached ones included."""
        return len(self._free) + len(self._cached)

    @property
    def num_tokens(self) -> int:
        """Slots of the whole pool."""
        return self.num_blocks * self.block_tokens

    def num_blocks_for(self, num_tokens: int) -> int:
        """Blocks that hold `num_tokens` entries."""
        return -(-num_tokens // self.block_tokens)

    def find_prefix(self, digests: Sequence[bytes]) -> list[int]:
        """The longest registered run from the start of a chain; looks only, valid until the next take or release."""
        found = []
        for digest in digests:
            block = self._block_of.get(digest)
            if block is None:
                break
            found.append(block)
        return found

    def has_room_for(self, num_blocks: int, beside: Sequence[int] = ()) -> bool:
        """Whether `take_blocks(num_blocks)` would succeed after `hold(beside)`."""
        num_lost = sum(1 for block in beside if not self._num_holders[block])
        return num_blocks + num_lost <= self.num_free_blocks

    def hold(self, blocks: Sequence[int]) -> None:
        """One more holder for registered blocks, in chain order from the first."""
        for block in blocks:
            if not self._num_holders[block]:
                del self._cached[block]
            self._num_holders[block] += 1

    def take_blocks(self, num_blocks: int) -> list[int]:
        """Blocks for the caller alone, their content undefined; evicts cached ones when no other are free.

        In order: the CPU's kernels read 16 slots at once, in which small blocks that lie side by side share.
        """
        assert num_blocks <= self.num_free_blocks, (num_blocks, self.num_free_blocks)
        taken = sorted(self._free.pop() if self._free else self._evict() for _ in range(num_blocks))
        for block in taken:
            self._num_holders[block] = 1
        return taken

    def release(self, blocks: Sequence[int]) -> None:
        """One holder less for each block of a chain; registered blocks stay cached, the deepest evicted first."""
        for block in reversed(blocks):
            assert self._num_holders[block] > self._num_pins[block], block
            self._drop_holder(block)

    def register(self, block: int, parent: bytes, digest: bytes) -> int:
        """Offer a full, computed block for reuse; the caller holds it and the block registered as `parent`.

        Returns:
            The block to use from now on: this one, or the one that already had the content, then held in its place.
        """
        known = self._block_of.get(digest)
        if known is None and parent != NO_PARENT and parent not in self._block_of:
            return block  # what comes before was forgotten
        if known is None:
            assert self._digest_of[block] is None, block
            self._block_of[digest] = block
            self._digest_of[block], self._parent_of[block] = digest, parent
            return block
        if known != block:
            self.hold((known,))
            self._drop_holder(block)
        return known

    def forget(self, blocks: Iterable[int]) -> set[int]:
        """Take the names of held `blocks`, and of all that were computed from them, so that nobody finds them again."""
        forgotten: set[int] = set()
        more = {block for block in blocks if self._digest_of[block] is not None}
        while more:
            forgotten |= more
            lost = {self._digest_of[block] for block in more}
            for block in more:
                self._take_name(block)
            more = {block for block in self._block_of.values() if self._parent_of[block] in lost}
        for block in forgotten.intersection(self._cached):
            del self._cached[block]
            self._free.append(block)
        return forgotten

    def pin(self, blocks: Sequence[int]) -> None:
        """Keep held or cached blocks, given in chain order from the first, from eviction until `unpin`."""
        self.hold(blocks)
        for block in blocks:
            self._num_pins[block] += 1

    def unpin(self, blocks: Sequence[int]) -> None:
        """Undo one `pin` of the same blocks."""
        for block in reversed(blocks):
            assert self._num_pins[block] > 0, block
            self._num_pins[block] -= 1
            self._drop_holder(block)

    def check(self, tables: Iterable[Sequence[int]], pinned: Iterable[Sequence[int]] = ()) -> None:
        """Prove the invariants against all live block tables and everything pinned. Raises AssertionError."""
        held = {block for block in range(self.num_blocks) if self._num_holders[block]}
        assert len(self._free) + len(held) + len(self._cached) == self.num_blocks, self._counts(held)
        assert len(held.union(self._free, self._cached)) == self.num_blocks, self._counts(held)
        num_tables = Counter(block for table in tables for block in table)
        num_pins = Counter(block for blocks in pinned for block in blocks)
        for block, (holders, pins) in enumerate(zip(self._num_holders, self._num_pins, strict=True)):
            assert pins == num_pins[block], f"block {block}: {pins} pins, should be {num_pins[block]}"
            assert holders - pins == num_tables[block], f"block {block}: {holders - pins} holders, {num_tables[block]=}"
        self._check_registry(held)

    def _check_registry(self, held: set[int]) -> None:
        names = {digest: block for block, digest in enumerate(self._digest_of) if digest is not None}
        assert names == self._block_of
        assert all(self._digest_of[block] is None for block in self._free)
        assert all(self._digest_of[block] is not None for block in self._cached)
        age = {block: rank for rank, block in enumerate(self._cached)}
        for block in names.values():
            if self._parent_of[block] == NO_PARENT:
                continue
            parent = names[self._parent_of[block]]
            in_order = parent in held or (block in age and age[block] < age[parent])
            assert in_order, f"block {block} would outlive its parent {parent}"

    def _counts(self, held: set[int]) -> str:
        return f"free {len(self._free)} + held {len(held)} + cached {len(self._cached)} != total {self.num_blocks}"

    def _drop_holder(self, block: int) -> None:
        self._num_holders[block] -= 1
        if self._num_holders[block]:
            return
        if self._digest_of[block] is None:
            self._free.append(block)
        else:
            self._cached[block] = None

    def _evict(self) -> int:
        block, _ = self._cached.popitem(last=False)
        self._take_name(block)
        return block

    def _take_name(self, block: int) -> None:
        digest = self._digest_of[block]
        assert digest is not None, block
        del self._block_of[digest]
        self._digest_of[block], self._parent_of[block] = None, NO_PARENT
