"""The current memory graph: one immutable state, swapped for the next when the truth has changed."""

from __future__ import annotations

import asyncio

import numpy as np

from cofio.graph.blocks import ContextRow, EpisodeRow, Lexicons, MeetingHead, build_block
from cofio.graph.csr import MemoryGraph, assemble
from cofio.graph.scope import scope
from cofio.graph.spread import gather, wake
from cofio.records import VECTOR_DIMENSIONS, Filters, MemoryType
from cofio.store.database import Database
from cofio.store.graph_rows import GraphRows, read_changes
from cofio.text.terms import stems


class LiveGraph:
    """Holds `current`, which readers take once and keep for the length of their request."""

    def __init__(self, database: Database, lexicons: Lexicons, current: MemoryGraph) -> None:
        self._database = database
        self._lexicons = lexicons
        self._catching_up = asyncio.Lock()
        self.current = current

    @classmethod
    async def open(cls, database: Database) -> LiveGraph:
        """The graph of the whole truth is current."""
        await asyncio.to_thread(_warm)
        lexicons = Lexicons.empty()
        live = cls(database, lexicons, assemble(0, (), (), lexicons))
        await live.catch_up()
        return live

    async def catch_up(self) -> None:
        """`current` holds at least everything that was committed before the call.

        Calls that come in together share the work: whoever gets the lock first does it for those who wait.
        """
        wanted = await self._database.version()
        async with self._catching_up:
            if self.current.version >= wanted:
                return
            rows = await read_changes(self._database, self.current.version, self._lexicons)
            self.current = await asyncio.to_thread(_apply, self.current, rows, self._lexicons)

    async def reload(self) -> None:
        """`current` is built anew from the whole truth."""
        async with self._catching_up:
            self.current = assemble(0, (), (), self._lexicons)
        await self.catch_up()


def _warm() -> None:
    """Every kernel is compiled, or loaded from its cache on disk: no question pays for it."""
    lexicons = Lexicons.empty()
    vector = np.zeros(VECTOR_DIMENSIONS, np.float32)
    vector[0] = 1.0
    episodes = [
        EpisodeRow(
            node=i,
            memory_id=str(i),
            memory_type=MemoryType.CONTEXT,
            content="warming up the kernels before anybody asks",
            words=7,
            speaker=None,
            pure_question=False,
            vector=vector.tobytes(),
        )
        for i in range(3)
    ]
    context = ContextRow(node=9, memory_id="9", first=0, last=3, vector=vector.tobytes())
    blocks = [
        build_block(
            MeetingHead(key=key, meeting_id=str(key), title="", project="", series=None, day=0),
            episodes,
            [context],
            [],
            lexicons,
        )
        for key in range(2)
    ]
    graph = assemble(0, blocks, (), lexicons)
    everything = scope(graph, Filters())
    gather(graph, everything, stems(episodes[0].content), vector, np.zeros(1, np.int32))
    wake(graph, everything, np.zeros(1, np.int32), np.ones(1, np.float32))


def _apply(graph: MemoryGraph, rows: GraphRows, lexicons: Lexicons) -> MemoryGraph:
    changed, touched = rows.changes.meetings, rows.changes.concepts
    blocks = [block for block in graph.blocks if changed is not None and block.head.key not in changed]
    concepts = [
        concept for concept in graph.concepts if touched is not None and concept.memory_id not in touched
    ]
    # Meetings in the order of their row ids and concepts in the order of their ids: the same truth gives the
    # same graph, whatever the order in which it came to be known.
    blocks = sorted([*blocks, *rows.blocks], key=lambda block: block.head.key)
    concepts = sorted([*concepts, *rows.concepts], key=lambda concept: concept.memory_id)
    return assemble(rows.changes.version, blocks, concepts, lexicons)
