"""What is nearest to a question among the graph's own vectors: sketches tell which few are compared in full."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

import numpy as np

from cofio.graph import kernels
from cofio.graph.best import best
from cofio.graph.blocks import TYPE_CODES, TYPE_OF_KIND, Int16s
from cofio.graph.csr import MemoryGraph
from cofio.graph.scope import Scope
from cofio.graph.sketches import Sketches
from cofio.records import SEMANTIC_DIMENSIONS, Bools, Float32s, Int32s, Int64s, Level, MemoryType, value

# Episodes whose sketches one question may compare: beyond, the vector index is faster (docs/decisions/0014).
MOST_COMPARED: Final = 150_000
# How many memories are weighed, for those whose bits differ least: so many, so many for each that is wanted, and one in so
# many.
WEIGHED_LEAST: Final = 1_000
WEIGHED_EACH: Final = 60
WEIGHED_SHARE: Final = 60
# How many of these are compared in full. Of 100,000 episodes they hold .992 of the ten nearest and .987 of the fifty.
FULL_LEAST: Final = 320
FULL_EACH: Final = 16
# Steps of nearness: the bits in which sketches differ, or those into which a steered question's estimates fall.
STEPS: Final = 1024
_ALL: Final = np.zeros(0, np.bool_)
_ONE_PART: Final = np.zeros(1, np.int32)


@value
class _Compared:
    """The memories of a level that are looked at: those of `parts`, which begin and end at `starts`, `size` together.

    `inside` says of each if it is in scope; empty where all are.
    """

    vectors: Int16s
    sketches: Sketches
    first: int  # node of the level
    parts: Int32s
    starts: Int64s
    size: int
    inside: Bools


def comparable(graph: MemoryGraph, bounds: Scope) -> bool:
    """Whether `nearest_nodes` looks at all episodes inside `bounds`; at contexts and concepts, which are a tenth as many, it
    always does.
    """
    return graph.episodes <= MOST_COMPARED or _meetings(graph, bounds)[1] <= MOST_COMPARED


def nearest_nodes(
    graph: MemoryGraph, bounds: Scope, vector: Float32s, limits: Mapping[Level, int]
) -> Mapping[Level, tuple[Int32s, Float32s]]:
    """Of each level in `limits` the nodes inside `bounds` with the largest inner products and these, at most so many, best
    first, ties by id.

    `vector` is the question's 400 dimensions. Contexts and concepts have no speaker: where speakers are bound, none is
    inside. Where there are more memories than are compared in full, a few better ones may be missed; of more than
    `MOST_COMPARED` episodes those are looked at whose meetings' centroids are nearest.
    """
    vector = np.ascontiguousarray(vector, np.float32)
    found: dict[Level, tuple[Int32s, Float32s]] = {}
    with graph.scratch.borrow(graph.nodes) as scratch:
        steps = scratch.parent.view(np.uint16)
        for level, limit in limits.items():
            compared = _COMPARED[level](graph, bounds, vector)
            # By shares of what is inside: what else there is must not show in what is found.
            weighed, full = max(WEIGHED_LEAST, WEIGHED_EACH * limit), max(FULL_LEAST, FULL_EACH * limit)
            found[level] = kernels.nearest(
                vector, compared.sketches, compared.vectors, compared.parts, compared.starts, compared.inside, weighed, WEIGHED_SHARE, full, STEPS, steps[: compared.size],
                np.int32(compared.first), graph.ids, graph.context_ids, graph.concept_ids, limit,
            )  # fmt: skip
    return found


def nearest_rows(graph: MemoryGraph, rows: Int32s, vector: Float32s, limit: int) -> Int32s:
    """The best `limit` of `rows` by their inner products with the question's 400 dimensions, best first, ties by id."""
    scores = np.empty(rows.size, np.float32)
    kernels.dots_of_rows(np.ascontiguousarray(vector, np.float32), graph.vectors, rows, scores)
    return rows[best(graph, rows, scores, limit)]


def _episodes(graph: MemoryGraph, bounds: Scope, vector: Float32s) -> _Compared:
    parts, size = _meetings(graph, bounds)
    if size > MOST_COMPARED:
        parts, size = _nearest_meetings(graph, parts, vector[:SEMANTIC_DIMENSIONS])
    inside = _ALL
    if bounds.some_speakers or bounds.some_types:
        inside = np.empty(size, np.bool_)
        kernels.spoken(
            parts, graph.meeting_rows, graph.speakers, graph.types, bounds.speakers, bounds.types, inside
        )
    return _Compared(
        vectors=graph.vectors,
        sketches=graph.sketches,
        first=0,
        parts=parts,
        starts=graph.meeting_rows,
        size=size,
        inside=inside,
    )


def _contexts(graph: MemoryGraph, bounds: Scope, _: Float32s) -> _Compared:
    some = bounds.types[TYPE_CODES[MemoryType.CONTEXT]] and not bounds.some_speakers
    size = len(graph.context_vectors) if some else 0
    inside = graph.living_contexts if bounds.whole(graph) else bounds.meetings[graph.context_meeting]
    return _Compared(
        vectors=graph.context_vectors,
        sketches=graph.context_sketches,
        first=graph.episodes,
        parts=_ONE_PART,
        starts=np.array((0, size), np.int64),
        size=size,
        inside=inside[:size],
    )


def _concepts(graph: MemoryGraph, bounds: Scope, _: Float32s) -> _Compared:
    size = 0 if bounds.some_speakers else len(graph.concept_vectors)
    if bounds.whole(graph):
        inside = graph.mentioned
    else:
        inside = bounds.mentions(graph, np.arange(size, dtype=np.int32))
    if bounds.some_types:
        inside = inside[:size] & bounds.types[TYPE_OF_KIND[graph.concept_kinds[:size]]]
    return _Compared(
        vectors=graph.concept_vectors,
        sketches=graph.concept_sketches,
        first=graph.first_concept,
        parts=_ONE_PART,
        starts=np.array((0, size), np.int64),
        size=size,
        inside=inside[:size],
    )


_COMPARED: Final[Mapping[Level, Callable[[MemoryGraph, Scope, Float32s], _Compared]]] = {
    Level.CONCEPT: _concepts,
    Level.CONTEXT: _contexts,
    Level.EPISODE: _episodes,
}


def _meetings(graph: MemoryGraph, bounds: Scope) -> tuple[Int32s, int]:
    """The meetings inside `bounds`, ascending, and how many rows they hold together."""
    meetings = np.empty(bounds.meetings.size, np.int32)
    count, rows = kernels.meetings_inside(bounds.meetings, graph.meeting_rows, meetings)
    return meetings[:count], rows


def _nearest_meetings(graph: MemoryGraph, meetings: Int32s, semantic: Float32s) -> tuple[Int32s, int]:
    """Of `meetings` the nearest until they hold `MOST_COMPARED` rows together, ascending, and how many they hold."""
    cosine = np.empty(meetings.size, np.float32)
    kernels.dots_of_rows(semantic, graph.meeting_centroid, meetings, cosine)
    order = np.argsort(-cosine, kind="stable")
    held = np.cumsum(np.diff(graph.meeting_rows)[meetings[order]])
    count = int(np.searchsorted(held, MOST_COMPARED)) + 1
    return np.sort(meetings[order[:count]]), int(held[:count][-1])
