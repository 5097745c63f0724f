"""What is nearest to a question's vector: by the graph's own vectors, or where episodes are too many by the vector index.

The graph holds every vector for the spread; to compare them there takes less time than to ask another process
(docs/decisions/0014).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from cofio.errors import VectorStoreUnavailable
from cofio.graph.csr import MemoryGraph
from cofio.graph.nearest import MOST_COMPARED, comparable, nearest_nodes, nearest_rows
from cofio.graph.scope import Scope
from cofio.records import Filters, Float32s, Int32s, Level, Missing
from cofio.runtime import Runtime
from cofio.store.pseudonyms import in_pseudonyms
from cofio.store.vectors import Hit

_NONE: Final = np.empty(0, np.int32)
# How many times as many episodes the index is asked for: what it finds by a byte a number, the graph compares exactly. Of a
# million, as many of the fifty nearest are found so as when the index reads whole vectors from its files.
ASKED: Final = 2
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

    `hits` are episodes that the index found, in any order, None where they are compared; `missing` tells if it was asked and did not
    answer.
    """

    graph: MemoryGraph
    bounds: Scope
    vector: Float32s
    limits: Mapping[Level, int]
    hits: Sequence[Hit] | None = None
    missing: tuple[Missing, ...] = ()

    def nodes(self) -> Mapping[Level, Int32s]:
        """The nodes of each level, best first, none of one that was not asked for. For threads: it compares what the index
        did not find.

        What the index holds and this version of the graph does not (or no more) is left out.
        """
        found = dict.fromkeys(Level, _NONE)
        limits = dict(self.limits)
        if self.hits is not None:
            limit = limits.pop(Level.EPISODE)
            rows = self.graph.rows_by_id.find([hit.memory_id for hit in self.hits])
            found[Level.EPISODE] = nearest_rows(self.graph, rows[rows >= 0], self.vector, limit)
        if limits:
            compared = nearest_nodes(self.graph, self.bounds, self.vector, limits)
            found |= {level: nodes for level, (nodes, _) in compared.items()}
        return found


async def search(
    runtime: Runtime,
    graph: MemoryGraph,
    bounds: Scope,
    filters: Filters,
    vector: Float32s,
    limits: Mapping[Level, int],
) -> Search:
    """A search inside `bounds`, which is what passes `filters`; where the index has to find the episodes, it has."""
    found = Search(graph=graph, bounds=bounds, vector=vector, limits=limits)
    if Level.EPISODE not in limits or comparable(graph, bounds):
        return found
    hits = await _indexed(runtime, filters, vector, limits[Level.EPISODE])
    return replace(found, hits=hits, missing=(WITHOUT_INDEX,) if hits is None else ())


def needs_no_index(graph: MemoryGraph) -> bool:
    """Whether no question of `graph` is answered by what the index holds, or does not hold yet."""
    return graph.episodes <= MOST_COMPARED


async def _indexed(runtime: Runtime, filters: Filters, vector: Float32s, limit: int) -> Sequence[Hit] | None:
    """The episodes that the vector index finds, `ASKED` times `limit`; None where it does not answer."""
    try:
        async with runtime.breaker.calling(runtime.settings.max_search_wait_s):
            limits = {Level.EPISODE: ASKED * limit}
            found = await runtime.index.search(vector, limits, in_pseudonyms(filters), rescored=False)
        return found[Level.EPISODE]
    except VectorStoreUnavailable:
        return None
