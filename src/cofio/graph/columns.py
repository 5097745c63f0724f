"""Arrays that grow at their end: what the graph appends, older versions of it never see."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import DTypeLike, NDArray

_ROOM: Final = (
    1.25  # a full column moves to one this much larger: copying costs four moves an item in the long run
)


class Column:
    """One array of items, of which the first `len(column)` are in use.

    `view()` hands out the items in use; what is appended later lies behind them, so a view stays what it was.
    """

    __slots__ = ("_array", "_used")

    def __init__(self, dtype: DTypeLike, *shape: int) -> None:
        self._array: NDArray[Any] = np.empty((0, *shape), dtype)
        self._used = 0

    @classmethod
    def of(cls, items: NDArray[Any]) -> Column:
        """A column that holds the items, not copied."""
        column = cls(items.dtype, *items.shape[1:])
        column._array, column._used = items, len(items)
        return column

    def __len__(self) -> int:
        return self._used

    def append(self, items: NDArray[Any]) -> None:
        """The items are the column's last, converted to its dtype."""
        needed = self._used + len(items)
        if needed > len(self._array):
            larger = np.empty((max(needed, int(needed * _ROOM)), *self._array.shape[1:]), self._array.dtype)
            larger[: self._used] = self._array[: self._used]
            self._array = larger
        self._array[self._used : needed] = items
        self._used = needed

    def view(self) -> NDArray[Any]:
        """The items in use, not copied."""
        return self._array[: self._used]
