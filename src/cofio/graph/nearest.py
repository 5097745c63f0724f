"""What is nearest to a question among the graph's own vectors: sketches tell which few are compared in full."""

from __future__ import annotations

from typing import Final

import numpy as np

from cofio.graph import kernels
from cofio.graph.best import best
from cofio.graph.csr import MemoryGraph
from cofio.graph.scope import Scope
from cofio.graph.sketches import sketched
from cofio.records import SEMANTIC_DIMENSIONS, Float32s, Int32s

# Rows whose sketches one question may compare: beyond, the vector index is faster (docs/decisions/0014).
COMPARED_ROWS: Final = 150_000
# How many rows are compared in full: so many, so many for each that is wanted, and one in so many. Of 100,000 they hold
# .995 of the ten nearest and .980 of the fifty nearest.
FULL_LEAST: Final = 1_000
FULL_EACH: Final = 40
FULL_SHARE: Final = 60
# Steps of nearness: the bits in which sketches differ, or those into which a steered question's estimates fall.
STEPS: Final = 1024


def comparable(graph: MemoryGraph, bounds: Scope) -> bool:
    """Whether `nearest_rows` compares all rows inside `bounds`."""
    return int(np.diff(graph.meeting_rows)[bounds.meetings].sum()) <= COMPARED_ROWS


def nearest_rows(graph: MemoryGraph, bounds: Scope, vector: Float32s, limit: int) -> tuple[Int32s, Float32s]:
    """The rows inside `bounds` with the largest inner products and these, at most `limit`, best first, ties by id.

    `vector` is the question's 400 dimensions. Where there are more rows than are compared in full, a few better ones may
    be missed; of more than `COMPARED_ROWS` rows those are looked at whose meetings' centroids are nearest.
    """
    semantic = np.ascontiguousarray(vector[:SEMANTIC_DIMENSIONS])
    weights = np.ascontiguousarray(vector[SEMANTIC_DIMENSIONS:])
    steered = bool(weights.any())
    meetings = _meetings(graph, bounds, semantic)
    total = int(np.diff(graph.meeting_rows)[meetings].sum())
    wanted = max(FULL_LEAST, FULL_EACH * limit, total // FULL_SHARE)
    sketch = sketched(semantic[None])[0]
    with graph.scratch.borrow(graph.nodes) as scratch:
        steps = scratch.parent.view(np.uint16)[:total]
        kernels.sketch_steps(sketch, graph.sketches, meetings, graph.meeting_rows, steps)
        if steered:
            kernels.steered_steps(weights, graph.vectors, meetings, graph.meeting_rows, STEPS, steps)
        if not (bounds.speakers.all() and bounds.types.all()):
            kernels.leave_out(
                meetings, graph.meeting_rows, graph.speakers, graph.types, bounds.speakers, bounds.types, STEPS, steps
            )  # fmt: skip
        rows = kernels.rows_within(meetings, graph.meeting_rows, steps, wanted, np.zeros(STEPS, np.int64))
    scores = np.empty(rows.size, np.float32)
    kernels.dots_of_rows(vector if steered else semantic, graph.vectors, rows, scores)
    places = best(graph, rows, scores, limit)
    return rows[places], scores[places]


def _meetings(graph: MemoryGraph, bounds: Scope, semantic: Float32s) -> Int32s:
    """The meetings to look at, ascending: all of them, or the nearest until they hold `COMPARED_ROWS` rows together."""
    inside = np.flatnonzero(bounds.meetings).astype(np.int32)
    sizes = np.diff(graph.meeting_rows)[inside]
    if sizes.sum() <= COMPARED_ROWS:
        return inside
    cosine = np.empty(inside.size, np.float32)
    kernels.dots_of_rows(semantic, graph.meeting_centroid, inside, cosine)
    order = np.argsort(-cosine, kind="stable")
    before = np.cumsum(sizes[order]) - sizes[order]
    return np.sort(inside[order][before < COMPARED_ROWS])
