"""Memory ids as pairs of numbers, and finding the row of one."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from cofio.graph import kernels
from cofio.records import Bools, Int32s

CHARACTERS: Final = 36  # of an id

Ids = NDArray[np.uint64]  # (n, 2): the high and the low half of each uuid


def packed(memory_ids: Sequence[str]) -> Ids:
    """The ids as rows of two numbers; a tenth of the room that strings take. Raises `ValueError` for what is no uuid."""
    raw = bytes.fromhex("".join(memory_ids).replace("-", ""))
    return np.frombuffer(raw, ">u8").reshape(-1, 2).astype(np.uint64)


def written(ids: Ids) -> list[str]:
    """The ids as they were given."""
    text = np.empty((len(ids), CHARACTERS), np.uint8)
    kernels.write_ids(ids, text)
    joined = text.tobytes().decode()
    return [joined[at : at + CHARACTERS] for at in range(0, len(joined), CHARACTERS)]


@dataclass(frozen=True, slots=True, kw_only=True)
class IdIndex:
    """The rows of a table of ids, sorted by id."""

    ids: Ids
    high: NDArray[np.uint64]  # ascending
    row: Int32s  # of each of `high`

    @classmethod
    def empty(cls) -> IdIndex:
        """An index of no rows."""
        return cls(ids=np.empty((0, 2), np.uint64), high=np.empty(0, np.uint64), row=np.empty(0, np.int32))

    def grown(self, ids: Ids, alive: Bools) -> IdIndex:
        """An index of the rows of `ids`, which begins with the rows of this one, that are `alive`.

        Cost: a sort of the new rows, and one pass over the old.
        """
        before = self.ids.shape[0]
        kept = alive[self.row]
        high, row = self.high[kept], self.row[kept]
        added = (before + np.flatnonzero(alive[before:])).astype(np.int32)
        added = added[np.argsort(ids[added, 0], kind="stable")]
        place = np.searchsorted(high, ids[added, 0])
        return IdIndex(ids=ids, high=np.insert(high, place, ids[added, 0]), row=np.insert(row, place, added))

    def find(self, memory_ids: Iterable[str]) -> Int32s:
        """The row of each id, −1 where it has none."""
        wanted = packed(list(memory_ids))
        found = np.full(len(wanted), -1, np.int32)
        if not self.high.size:
            return found
        place = np.searchsorted(self.high, wanted[:, 0])
        # Two ids with one high half lie side by side; it takes billions of memories to see that happen.
        while place.size:
            at = np.minimum(place, self.high.size - 1)
            same = (self.high[at] == wanted[:, 0]) & (place < self.high.size)
            rows = self.row[at]
            hit = same & (self.ids[rows, 1] == wanted[:, 1])
            found[hit] = rows[hit]
            if not (same & ~hit).any():
                break
            place = place + 1
        return found
