"""What the vector index would have found, found without it: the graph's own vectors are compared one by one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import numpy as np

from cofio.graph import kernels
from cofio.graph.csr import MemoryGraph
from cofio.graph.ids import written
from cofio.graph.scope import Scope
from cofio.records import SEMANTIC_DIMENSIONS, Float32s, Int32s, Level
from cofio.store.vectors import Hit

# Rows that one question may compare, some 40 ms: in a larger memory only those of the nearest meetings are.
SCANNED_ROWS: Final = 200_000


def nearest(
    graph: MemoryGraph, bounds: Scope, vector: Float32s, limits: Mapping[Level, int]
) -> Mapping[Level, list[Hit]]:
    """The best episodes and concepts inside `bounds`, at most so many of each, best first.

    `vector` is the question's 400 dimensions. Of up to `SCANNED_ROWS` episodes none that is better is missed; of
    more, those are compared whose meetings' centroids are nearest.
    """
    return {
        level: _episodes(graph, bounds, vector, limit)
        if level is Level.EPISODE
        else _concepts(graph, bounds, vector, limit)
        for level, limit in limits.items()
    }


def _episodes(graph: MemoryGraph, bounds: Scope, vector: Float32s, limit: int) -> list[Hit]:
    scores, rows = np.empty(limit, np.float32), np.empty(limit, np.int32)
    n = kernels.nearest_rows(
        vector, graph.vectors, _meetings(graph, bounds, vector), graph.meeting_rows, graph.speakers, graph.types,
        bounds.speakers, bounds.types, scores, rows,
    )  # fmt: skip
    return _hits(graph, rows[:n], scores[:n])


def _meetings(graph: MemoryGraph, bounds: Scope, vector: Float32s) -> Int32s:
    """The meetings to look at: all of them, or the nearest until they hold `SCANNED_ROWS` rows together."""
    inside = np.flatnonzero(bounds.meetings).astype(np.int32)
    sizes = np.diff(graph.meeting_rows)[inside]
    if sizes.sum() <= SCANNED_ROWS:
        return inside
    cosine = np.empty(inside.size, np.float32)
    semantic = np.ascontiguousarray(vector[:SEMANTIC_DIMENSIONS])
    kernels.dots_of_rows(semantic, graph.meeting_centroid, inside, cosine)
    order = np.argsort(-cosine, kind="stable")
    before = np.cumsum(sizes[order]) - sizes[order]
    return inside[order][before < SCANNED_ROWS]


def _concepts(graph: MemoryGraph, bounds: Scope, vector: Float32s, limit: int) -> list[Hit]:
    numbers = np.flatnonzero(graph.concept_alive).astype(np.int32)
    numbers = numbers[bounds.mentions(graph, numbers)]
    scores = np.empty(numbers.size, np.float32)
    kernels.dots_of_rows(vector, graph.concept_vectors, numbers, scores)
    best = np.argsort(-scores, kind="stable")[:limit]
    return _hits(graph, graph.first_concept + numbers[best], scores[best])


def _hits(graph: MemoryGraph, nodes: Int32s, scores: Float32s) -> list[Hit]:
    ids = written(graph.ids_of(nodes))
    return [
        Hit(memory_id=memory_id, score=round(score, 6))
        for memory_id, score in zip(ids, scores.tolist(), strict=True)
    ]
