"""How deep a JSON text nests and how many values it has, told from its bytes, before any of it is parsed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

_STRUCTURE: Final = b'"{}[],'
_OTHERS: Final = bytes(set(range(256)) - set(_STRUCTURE))
_QUOTE: Final = ord('"')
# What each byte does to the depth, and whether a value begins behind it.
_STEPS: Final = np.zeros(256, np.int8)
_STEPS[list(b"{[")] = 1
_STEPS[list(b"}]")] = -1
_BEGINS: Final = np.zeros(256, np.bool_)
_BEGINS[list(b"{[,")] = True
# So many bytes are looked at together, which bounds the memory that this takes.
_CHUNK: Final = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """What a JSON text is like: arrays and objects inside one another, and values, the containers among them.

    Of a text that is no JSON both are upper bounds for what a parser meets before it gives up.
    """

    depth: int
    values: int


def shape_of(text: bytes) -> Shape:
    """The shape of a JSON text in UTF-8. Cost: some passes over its bytes, and at most two copies of them."""
    # What is escaped ends no string: pairs of backslashes go first, then the quotes behind one that is left.
    structure = text.replace(rb"\\", b"").replace(rb"\"", b"") if b"\\" in text else text
    marks = np.frombuffer(structure.translate(None, _OTHERS), np.uint8)
    quotes = depth = deepest = 0
    values = 1
    for start in range(0, marks.size, _CHUNK):
        chunk = marks[start : start + _CHUNK]
        seen = np.cumsum(chunk == _QUOTE, dtype=np.int64) + quotes
        outside = chunk[seen % 2 == 0]
        quotes = int(seen[-1])
        values += int(np.count_nonzero(_BEGINS[outside]))
        if outside.size:
            levels = np.cumsum(_STEPS[outside], dtype=np.int64) + depth
            deepest = max(deepest, int(levels.max()))
            depth = int(levels[-1])
    return Shape(depth=deepest, values=values)


def bound_of(text: bytes) -> Shape:
    """What the shape of a JSON text cannot exceed, at a hundredth of the cost: marks inside strings count too."""
    openings = text.count(b"{") + text.count(b"[")
    return Shape(depth=openings, values=1 + openings + text.count(b","))
