"""Memory ids as pairs of numbers, and finding the row of one."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cofio.records import Int32s

Ids = NDArray[np.uint64]  # (n, 2): the high and the low half of each uuid


def packed(memory_ids: Sequence[str]) -> Ids:
    """The ids as rows of two numbers; a tenth of the room that strings take. Raises `ValueError` for what is no uuid."""
    raw = bytes.fromhex("".join(memory_ids).replace("-", ""))
    return np.frombuffer(raw, ">u8").reshape(-1, 2).astype(np.uint64)


def written(ids: Ids, row: int) -> str:
    """The id of one row as it was given."""
    high, low = ids[row].tolist()
    text = f"{high:016x}{low:016x}"
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


@dataclass(frozen=True, slots=True, kw_only=True)
class IdIndex:
    """The rows of a table of ids, sorted by id."""

    ids: Ids
    high: NDArray[np.uint64]  # ascending
    row: Int32s  # of each of `high`

    @classmethod
    def of(cls, ids: Ids, rows: Int32s) -> IdIndex:
        """An index of `rows` of `ids`. Cost: one sort."""
        order = np.argsort(ids[rows, 0], kind="stable")
        return cls(ids=ids, high=ids[rows[order], 0], row=rows[order])

    def find(self, memory_ids: Iterable[str]) -> Int32s:
        """The row of each id, −1 where it has none."""
        wanted = packed(list(memory_ids))
        place = np.searchsorted(self.high, wanted[:, 0])
        found = np.full(len(wanted), -1, np.int32)
        # Two ids with one high half lie side by side; it takes billions of memories to see that happen.
        for i, at in enumerate(place.tolist()):
            while at < self.high.size and self.high[at] == wanted[i, 0]:
                if self.ids[self.row[at], 1] == wanted[i, 1]:
                    found[i] = self.row[at]
                at += 1
        return found
