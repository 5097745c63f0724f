"""Scratch arrays of the kernels: as long as the graph has nodes, so they are kept from question to question."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

import numpy as np

from cofio.records import Float32s, Int32s

_KEPT: Final = 2  # sets that are kept when nobody uses them; more are made when more questions run at once


@dataclass(frozen=True, slots=True, kw_only=True)
class Scratch:
    """Arrays over all nodes. `strength` is zero between uses, `parent` is whatever it is."""

    strength: Float32s
    parent: Int32s


class ScratchPool:
    """Hands out sets of scratch arrays, each to one user at a time."""

    def __init__(self) -> None:
        self._free: deque[Scratch] = deque(maxlen=_KEPT)

    @contextmanager
    def borrow(self, nodes: int) -> Iterator[Scratch]:
        """A set with room for `nodes`; a user that raises leaves it to be thrown away."""
        try:
            scratch = self._free.pop()
        except IndexError:
            scratch = None
        if scratch is None or scratch.parent.size < nodes:
            # Room for what is appended until the graph has grown by an eighth.
            room = nodes + nodes // 8
            scratch = Scratch(
                strength=np.zeros(room, np.float32),
                parent=np.empty(room, np.int32),
            )
        yield scratch
        self._free.append(scratch)
