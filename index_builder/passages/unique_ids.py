"""Document ids made unique: a dump that is read twice, or two folders with the same names, must not share ids."""

from __future__ import annotations

import hashlib
from array import array

_EMPTY = 0


class UniqueIds:
    """Every id once; a later document of the same id is called `id~2`, `id~3`...

    Holds 8 to 32 bytes an id (open addressing over 64-bit hashes), whatever their length.
    """

    def __init__(self) -> None:
        self._slots = array("Q", bytes(8 * 1024))
        self._num_ids = 0

    def __len__(self) -> int:
        return self._num_ids

    def take(self, document_id: str) -> str:
        """`document_id`, or the first free variant of it; it is taken afterwards."""
        candidate = document_id
        copy = 1
        while not self._add(candidate):
            copy += 1
            candidate = f"{document_id}~{copy}"
        return candidate

    def _add(self, document_id: str) -> bool:
        if self._num_ids * 2 >= len(self._slots):
            self._double()
        key = int.from_bytes(hashlib.blake2b(document_id.encode(), digest_size=8).digest(), "little") or 1
        slot = self._slot(key)
        if self._slots[slot] == key:
            return False
        self._slots[slot] = key
        self._num_ids += 1
        return True

    def _slot(self, key: int) -> int:
        mask = len(self._slots) - 1
        slot = key & mask
        while self._slots[slot] not in (_EMPTY, key):
            slot = (slot + 1) & mask
        return slot

    def _double(self) -> None:
        keys = [key for key in self._slots if key != _EMPTY]
        self._slots = array("Q", bytes(2 * 8 * len(self._slots)))
        for key in keys:
            self._slots[self._slot(key)] = key
