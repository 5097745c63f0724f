"""What is nearest to a question's vector: episodes by the graph's own vectors, the rest by the vector index.

The graph holds every episode's vector for the spread; to compare them there takes less time than to ask another process
(docs/decisions/0014). What the graph does not compare, the index finds meanwhile.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
from collections.abc import AsyncIterator, Mapping, Sequence
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

# What stands in for the index where it does not answer.
WITHOUT_INDEX: Final = Missing(
    code=VectorStoreUnavailable.code,
    detail=(
        "The vector store does not answer: the graph's own vectors were compared, of more than "
        f"{COMPARED_ROWS:,} episodes only those of the nearest meetings."
    ),
)

Hits = Mapping[Level, Sequence[Hit]]


class Search:
    """What is nearest to `vector` (400 dimensions) in `graph` inside `bounds`, of each level in `limits` at most so many.

    `rows` and `hits` are for threads: they compute, and wait for the index, which has `max_search_wait_s`.
    """

    def __init__(
        self, graph: MemoryGraph, bounds: Scope, vector: Float32s, limits: Mapping[Level, int]
    ) -> None:
        self._graph = graph
        self._bounds = bounds
        self._vector = vector
        self._episodes = limits.get(Level.EPISODE, 0)
        self._compares = comparable(graph, bounds)
        self.asked_of_index: Mapping[Level, int] = {
            level: limit
            for level, limit in limits.items()
            if level is not Level.EPISODE or not self._compares
        }
        """The limits of the levels that the index has to find; the others are compared."""
        self.found: concurrent.futures.Future[Hits | None] = concurrent.futures.Future()
        """What the index found; None where it does not answer."""

    @property
    def missing(self) -> tuple[Missing, ...]:
        """The index, if it was asked and did not answer."""
        return (WITHOUT_INDEX,) if self.found.result() is None else ()

    def hits(self, level: Level) -> Sequence[Hit] | None:
        """What the index found of a level; None where it was not asked, or does not answer."""
        return (self.found.result() or {}).get(level)

    def rows(self) -> Int32s:
        """The rows of the nearest episodes, best first."""
        hits = None if self._compares else self.hits(Level.EPISODE)
        if hits is not None:
            rows = self._graph.rows_by_id.find([hit.memory_id for hit in hits])
            # What the index holds and this version of the graph does not (or no more) is left out.
            return rows[rows >= 0]
        if not self._episodes:
            return np.empty(0, np.int32)
        rows, _ = nearest_rows(self._graph, self._bounds, self._vector, self._episodes)
        return rows


@contextlib.asynccontextmanager
async def searching(
    runtime: Runtime,
    graph: MemoryGraph,
    bounds: Scope,
    filters: Filters,
    vector: Float32s,
    limits: Mapping[Level, int],
) -> AsyncIterator[Search]:
    """A search inside `bounds`, which is what passes `filters`; the index has been asked.

    Where it has to find the episodes, it has answered, so that no thread waits for what it begins with.
    """
    search = Search(graph, bounds, vector, limits)
    if not search.asked_of_index:
        search.found.set_result({})
        yield search
        return
    asking = asyncio.create_task(_indexed(runtime, filters, vector, search.asked_of_index), name="search")
    asking.add_done_callback(lambda done: _tell(done, search.found))
    try:
        if Level.EPISODE in search.asked_of_index:
            await asyncio.wait([asking])
        yield search
    finally:
        asking.cancel()  # of a caller that left: whoever waits for `found` is told


def _tell(done: asyncio.Task[Hits | None], found: concurrent.futures.Future[Hits | None]) -> None:
    if done.cancelled():
        found.cancel()
    elif (error := done.exception()) is not None:
        found.set_exception(error)
    else:
        found.set_result(done.result())


async def _indexed(
    runtime: Runtime, filters: Filters, vector: Float32s, limits: Mapping[Level, int]
) -> Hits | None:
    """The hits of the vector index; None where it does not answer."""
    try:
        async with runtime.breaker.calling(runtime.settings.max_search_wait_s):
            return await runtime.index.search(vector, limits, in_pseudonyms(filters))
    except VectorStoreUnavailable:
        return None
