"""What is nearest to a question's vector: by the graph's own vectors, or where these are too many by the vector index.

The graph holds every vector for the spread; to compare them there takes less time than to ask another process
(docs/decisions/0014).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from cofio.errors import VectorStoreUnavailable
from cofio.graph.csr import MemoryGraph
from cofio.graph.nearest import MOST_COMPARED, comparable, nearest_nodes
from cofio.graph.scope import Scope
from cofio.records import Filters, Float32s, Int32s, Level, Missing
from cofio.runtime import Runtime
from cofio.store.pseudonyms import in_pseudonyms
from cofio.store.vectors import Hit

# What stands in for the index where it does not answer.
WITHOUT_INDEX: Final = Missing(
    code=VectorStoreUnavailable.code,
    detail=(
        "The vector store does not answer: the graph's own vectors were compared, of more than "
        f"{MOST_COMPARED:,} episodes only those of the nearest meetings."
    ),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Search:
    """What is nearest to `vector` (400 dimensions) in `graph` inside `bounds`, of each level in `limits` at most so many.

    `hits` is what the index found, where it was asked; `missing` tells if it did not answer.
    """

    graph: MemoryGraph
    bounds: Scope
    vector: Float32s
    limits: Mapping[Level, int]
    hits: Mapping[Level, Sequence[Hit]]
    missing: tuple[Missing, ...]

    def nodes(self, level: Level) -> Int32s:
        """The nodes of a level, best first. For threads: it compares what the index was not asked for.

        What the index holds and this version of the graph does not (or no more) is left out.
        """
        if level not in self.limits:
            return np.empty(0, np.int32)
        if level in self.hits:
            return self.graph.nodes_of(level, [hit.memory_id for hit in self.hits[level]])
        return nearest_nodes(self.graph, self.bounds, level, self.vector, self.limits[level])[0]


async def search(
    runtime: Runtime,
    graph: MemoryGraph,
    bounds: Scope,
    filters: Filters,
    vector: Float32s,
    limits: Mapping[Level, int],
) -> Search:
    """A search inside `bounds`, which is what passes `filters`; where the index has to find something, it has been asked."""
    # Concepts belong to no meeting in the index: which of them pass narrow filters, only the graph can tell.
    asked = {
        level: limit
        for level, limit in limits.items()
        if not (comparable(graph, bounds, level) or (level is Level.CONCEPT and filters.narrow))
    }
    hits = await _indexed(runtime, filters, vector, asked) if asked else {}
    return Search(
        graph=graph,
        bounds=bounds,
        vector=vector,
        limits=limits,
        hits=hits or {},
        missing=() if hits is not None else (WITHOUT_INDEX,),
    )


async def _indexed(
    runtime: Runtime, filters: Filters, vector: Float32s, limits: Mapping[Level, int]
) -> Mapping[Level, Sequence[Hit]] | None:
    """The hits of the vector index; None where it does not answer."""
    try:
        async with runtime.breaker.calling(runtime.settings.max_search_wait_s):
            return await runtime.index.search(vector, limits, in_pseudonyms(filters))
    except VectorStoreUnavailable:
        return None
