"""What is nearest to a question by the graph's own vectors, compared one by one: the vector index's stand-in."""

from __future__ import annotations

from typing import Final

import numpy as np

from cofio.graph import kernels
from cofio.graph.csr import MemoryGraph
from cofio.graph.scope import Scope
from cofio.records import SEMANTIC_DIMENSIONS, Float32s, Int32s

# Rows that one question may compare, some 30 ms: in a larger memory only those of the nearest meetings are.
COMPARED_ROWS: Final = 200_000


def nearest_rows(graph: MemoryGraph, bounds: Scope, vector: Float32s, limit: int) -> tuple[Int32s, Float32s]:
    """The rows inside `bounds` with the largest inner products and these, at most `limit`, best first.

    `vector` is the question's 400 dimensions. Of up to `COMPARED_ROWS` rows none that is better is missed; of more,
    those are compared whose meetings' centroids are nearest.
    """
    scores, rows = np.empty(limit, np.float32), np.empty(limit, np.int32)
    n = kernels.nearest_rows(
        vector, graph.vectors, _meetings(graph, bounds, vector), graph.meeting_rows, graph.speakers, graph.types,
        bounds.speakers, bounds.types, scores, rows,
    )  # fmt: skip
    return rows[:n], scores[:n]


def _meetings(graph: MemoryGraph, bounds: Scope, vector: Float32s) -> Int32s:
    """The meetings to look at: all of them, or the nearest until they hold `COMPARED_ROWS` rows together."""
    inside = np.flatnonzero(bounds.meetings).astype(np.int32)
    sizes = np.diff(graph.meeting_rows)[inside]
    if sizes.sum() <= COMPARED_ROWS:
        return inside
    cosine = np.empty(inside.size, np.float32)
    semantic = np.ascontiguousarray(vector[:SEMANTIC_DIMENSIONS])
    kernels.dots_of_rows(semantic, graph.meeting_centroid, inside, cosine)
    order = np.argsort(-cosine, kind="stable")
    before = np.cumsum(sizes[order]) - sizes[order]
    return inside[order][before < COMPARED_ROWS]
