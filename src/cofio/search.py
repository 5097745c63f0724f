"""What is nearest to a question's vector: episodes by the graph's own vectors, the rest by the vector index.

The graph holds every episode's vector for the spread; to compare them there takes less time than to ask another process
(docs/decisions/0014). What the graph does not compare, the index finds meanwhile.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from cofio.errors import VectorStoreUnavailable
from cofio.graph.csr import MemoryGraph
from cofio.graph.nearest import COMPARED_ROWS, comparable, nearest_rows
from cofio.graph.scope import Scope
from cofio.records import Filters, Float32s, Int32s, Level, Missing
from cofio.runtime import Runtime
from cofio.store.pseudonyms import in_pseudonyms
from cofio.store.vectors import Hit
from cofio.threads import run_in

# What stands in for the index where it does not answer.
WITHOUT_INDEX: Final = Missing(
    code=VectorStoreUnavailable.code,
    detail=(
        "The vector store does not answer: the graph's own vectors were compared, of more than "
        f"{COMPARED_ROWS:,} episodes only those of the nearest meetings."
    ),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What is nearest to a vector: `rows` of episodes, best first, and the `hits` of the other levels that were asked for.

    Where the index does not answer, it is among the `missing`, and `hits` is empty.
    """

    rows: Int32s
    hits: Mapping[Level, Sequence[Hit]]
    missing: tuple[Missing, ...]


async def search(
    runtime: Runtime,
    graph: MemoryGraph,
    bounds: Scope,
    filters: Filters,
    vector: Float32s,
    limits: Mapping[Level, int],
) -> Found:
    """The nearest to `vector` (400 dimensions) of every level in `limits`, at most so many, inside `bounds`.

    `bounds` is what passes `filters`. Episodes are compared in the graph unless they are too many.
    """
    episodes = limits.get(Level.EPISODE, 0)
    if not comparable(graph, bounds):
        hits = await _indexed(runtime, filters, vector, limits)
        if hits is not None:
            rows = graph.rows_by_id.find([hit.memory_id for hit in hits.pop(Level.EPISODE, ())])
            # What the index holds and this version of the graph does not (or no more) is left out.
            return Found(rows=rows[rows >= 0], hits=hits, missing=())
        rows = await _compared(runtime, graph, bounds, vector, episodes)
    else:
        others: dict[Level, int] = {level: n for level, n in limits.items() if level is not Level.EPISODE}
        rows, hits = await asyncio.gather(
            _compared(runtime, graph, bounds, vector, episodes), _indexed(runtime, filters, vector, others)
        )
    return Found(rows=rows, hits=hits or {}, missing=() if hits is not None else (WITHOUT_INDEX,))


async def _compared(
    runtime: Runtime, graph: MemoryGraph, bounds: Scope, vector: Float32s, limit: int
) -> Int32s:
    if limit == 0:
        return np.empty(0, np.int32)
    rows, _ = await run_in(runtime.recalls.threads, nearest_rows, graph, bounds, vector, limit)
    return rows


async def _indexed(
    runtime: Runtime, filters: Filters, vector: Float32s, limits: Mapping[Level, int]
) -> dict[Level, Sequence[Hit]] | None:
    """The hits of the vector index; None where it does not answer."""
    if not limits:
        return {}
    try:
        async with runtime.breaker.calling(runtime.settings.max_search_wait_s):
            return dict(await runtime.index.search(vector, limits, in_pseudonyms(filters)))
    except VectorStoreUnavailable:
        return None
