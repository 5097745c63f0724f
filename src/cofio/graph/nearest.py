"""What is nearest to a question among the graph's own vectors: sketches tell which few are compared in full."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from cofio.graph import kernels
from cofio.graph.blocks import TYPE_CODES, TYPE_OF_KIND, Int16s
from cofio.graph.csr import MemoryGraph
from cofio.graph.scope import Scope
from cofio.graph.sketches import Sketches, sketched
from cofio.records import SEMANTIC_DIMENSIONS, Float32s, Int32s, Int64s, Level, MemoryType

# Episodes whose sketches one question may compare: beyond, the vector index is faster (docs/decisions/0014).
MOST_COMPARED: Final = 150_000
# How many memories are compared in full: so many, so many for each that is wanted, and one in so many. Of 100,000
# episodes they hold .995 of the ten nearest and .980 of the fifty nearest.
FULL_LEAST: Final = 1_000
FULL_EACH: Final = 40
FULL_SHARE: Final = 60
# Steps of nearness: the bits in which sketches differ, or those into which a steered question's estimates fall.
STEPS: Final = 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class _Compared:
    """The memories of a level that are looked at: those of `parts`, which begin and end at `starts`."""

    vectors: Int16s
    sketches: Sketches
    first: int  # node of the level
    parts: Int32s
    starts: Int64s

    @property
    def size(self) -> int:
        return int((self.starts[self.parts + 1] - self.starts[self.parts]).sum())


def comparable(graph: MemoryGraph, bounds: Scope) -> bool:
    """Whether `nearest_nodes` looks at all episodes inside `bounds`; at contexts and concepts, which are a tenth as many, it
    always does.
    """
    return int(np.diff(graph.meeting_rows)[bounds.meetings].sum()) <= MOST_COMPARED


def nearest_nodes(
    graph: MemoryGraph, bounds: Scope, level: Level, vector: Float32s, limit: int
) -> tuple[Int32s, Float32s]:
    """The nodes of `level` inside `bounds` with the largest inner products and these, at most `limit`, best first, ties
    by id.

    `vector` is the question's 400 dimensions. Contexts and concepts have no speaker: where speakers are bound, none is
    inside. Where there are more memories than are compared in full, a few better ones may be missed; of more than
    `MOST_COMPARED` episodes those are looked at whose meetings' centroids are nearest.
    """
    semantic = np.ascontiguousarray(vector[:SEMANTIC_DIMENSIONS])
    weights = np.ascontiguousarray(vector[SEMANTIC_DIMENSIONS:])
    steered = bool(weights.any())
    compared = _compared(graph, bounds, level, semantic)
    with graph.scratch.borrow(graph.nodes) as scratch:
        steps = scratch.parent.view(np.uint16)[: compared.size]
        sketch = sketched(semantic[None])[0]
        kernels.sketch_steps(sketch, compared.sketches, compared.parts, compared.starts, steps)
        if steered:
            kernels.steered_steps(weights, compared.vectors, compared.parts, compared.starts, STEPS, steps)
        _leave_out(graph, bounds, level, compared, steps)
        # Of those inside: what else there is must not show in what is found.
        wanted = max(FULL_LEAST, FULL_EACH * limit, np.count_nonzero(steps < STEPS) // FULL_SHARE)
        found: tuple[Int32s, Float32s] = kernels.best_within(
            compared.parts, compared.starts, steps, STEPS, wanted, vector if steered else semantic, compared.vectors,
            np.int32(compared.first), graph.ids, graph.context_ids, graph.concept_ids, limit,
        )  # fmt: skip
    return found


def _compared(graph: MemoryGraph, bounds: Scope, level: Level, semantic: Float32s) -> _Compared:
    if level is Level.EPISODE:
        return _Compared(
            vectors=graph.vectors,
            sketches=graph.sketches,
            first=0,
            parts=_meetings(graph, bounds, semantic),
            starts=graph.meeting_rows,
        )
    vectors, sketches, first = (
        (graph.context_vectors, graph.context_sketches, graph.episodes)
        if level is Level.CONTEXT
        else (graph.concept_vectors, graph.concept_sketches, graph.first_concept)
    )
    return _Compared(
        vectors=vectors,
        sketches=sketches,
        first=first,
        parts=np.zeros(1, np.int32),
        starts=np.array((0, len(vectors)), np.int64),
    )


def _leave_out(
    graph: MemoryGraph, bounds: Scope, level: Level, compared: _Compared, steps: NDArray[np.uint16]
) -> None:
    """The step of each memory that is not inside `bounds` is `STEPS`."""
    everybody, everything = bounds.speakers.all(), bounds.types.all()
    if level is Level.EPISODE:
        if not (everybody and everything):
            kernels.leave_out(
                compared.parts, compared.starts, graph.speakers, graph.types, bounds.speakers, bounds.types, STEPS, steps
            )  # fmt: skip
        return
    if not everybody:
        steps[:] = STEPS
        return
    if level is Level.CONTEXT:
        inside = bounds.meetings[graph.context_meeting] & bounds.types[TYPE_CODES[MemoryType.CONTEXT]]
    else:
        inside = bounds.mentions(graph, np.arange(steps.size, dtype=np.int32))
        if not everything:
            inside &= bounds.types[TYPE_OF_KIND[graph.concept_kinds]]
    steps[~inside] = STEPS


def _meetings(graph: MemoryGraph, bounds: Scope, semantic: Float32s) -> Int32s:
    """The meetings to look at, ascending: all of them, or the nearest until they hold `MOST_COMPARED` rows together."""
    inside = np.flatnonzero(bounds.meetings).astype(np.int32)
    sizes = np.diff(graph.meeting_rows)[inside]
    if sizes.sum() <= MOST_COMPARED:
        return inside
    cosine = np.empty(inside.size, np.float32)
    kernels.dots_of_rows(semantic, graph.meeting_centroid, inside, cosine)
    order = np.argsort(-cosine, kind="stable")
    before = np.cumsum(sizes[order]) - sizes[order]
    return np.sort(inside[order][before < MOST_COMPARED])
