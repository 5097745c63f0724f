"""The current memory graph: one immutable state, swapped for the next when the truth has changed."""

from __future__ import annotations

import asyncio
import sqlite3
from pathlib import Path
from typing import Final

from cofio.graph import snapshot
from cofio.graph.csr import MemoryGraph
from cofio.graph.ledger import Ledger, compact
from cofio.store import graph_rows
from cofio.store.database import Database
from cofio.store.turns import Turns

TURN: Final = "write the graph's snapshot"


class LiveGraph:
    """Holds `current`, which readers take once and keep for the length of their request."""

    def __init__(
        self, database: Database, path: Path, turns: Turns, ledger: Ledger, current: MemoryGraph
    ) -> None:
        self._database = database
        self._path = path
        self._turns = turns
        self._ledger = ledger
        self._changing = asyncio.Lock()
        self._saving = asyncio.Lock()
        self._tasks: set[asyncio.Task[None]] = set()
        self._commits: int | None = None
        self.current = current
        self.saved_version = 0

    @classmethod
    async def open(cls, database: Database, path: Path, turns: Turns) -> LiveGraph:
        """The graph of the whole truth is current: from the snapshot at `path` and what was committed after it."""
        ledger = Ledger()
        live = cls(database, path, turns, ledger, await asyncio.to_thread(ledger.graph, 0))
        await live._restore()
        restored = live._ledger
        await live.catch_up()
        if not live.saved_version or live._ledger is not restored or not restored.state().alive.all():
            # It could not be read, or it holds what was deleted after it was saved.
            await live.drop_snapshot()
        return live

    @property
    def fresh(self) -> bool:
        """Whether `current` is known to hold all that any process has committed by now; it takes microseconds."""
        return self._database.commits() == self._commits

    async def catch_up(self) -> None:
        """`current` holds at least everything that was committed before the call.

        Calls that come in together share the work: whoever gets the lock first does it for those who wait.
        """
        commits = self._database.commits()
        wanted = await self._database.version()
        # A caller that is cancelled must not let go of the lock while a thread is still changing the ledger.
        task = asyncio.create_task(self._catch_up(wanted), name="catch-up")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        await asyncio.shield(task)
        self._commits = commits

    async def _catch_up(self, wanted: int) -> None:
        async with self._changing:
            if self.current.version >= wanted:
                return
            self._ledger, self.current = await self._database.read(
                _caught_up, self._ledger, self.current.version
            )

    async def reload(self) -> None:
        """`current` is built anew from the whole truth."""
        async with self._changing:
            self._ledger = Ledger()
            self.current = self._ledger.graph(0)
        await self.catch_up()

    async def save(self) -> None:
        """The snapshot on disk is of `current` or what came after, and holds nothing of what was deleted."""
        async with self._saving, self._turns.turn(TURN):
            # What another worker has deleted, and dropped the snapshot for, must not come back with this one.
            await self.catch_up()
            async with self._changing:
                state, version = self._ledger.state(), self.current.version
            stamp = await graph_rows.stamp(self._database, version)
            if stamp is not None and version != self.saved_version and not await self._is_saved(version):
                await asyncio.to_thread(
                    lambda: snapshot.save(
                        compact(state) if not state.alive.all() else state, version, stamp, self._path
                    )
                )
                self.saved_version = version

    async def drop_snapshot(self) -> None:
        """There is no snapshot on disk of a state before `current`; the next is one of what is left."""
        async with self._saving, self._turns.turn(TURN):
            await asyncio.to_thread(snapshot.remove, self._path)
            self.saved_version = 0

    async def _is_saved(self, version: int) -> bool:
        """Whether the snapshot on disk is of this version of this truth already: another worker's."""
        saved = await asyncio.to_thread(snapshot.saved_version, self._path)
        return (
            saved is not None
            and saved[0] == version
            and await graph_rows.stamp(self._database, version) == saved[1]
        )

    async def _restore(self) -> None:
        saved = await asyncio.to_thread(snapshot.saved_version, self._path)
        if saved is None or await graph_rows.stamp(self._database, saved[0]) != saved[1]:
            return
        state = await asyncio.to_thread(snapshot.load, self._path)
        if state is not None:
            self._ledger = await asyncio.to_thread(Ledger.of, state)
            self.saved_version = saved[0]
            self.current = await asyncio.to_thread(self._ledger.graph, saved[0])


def _caught_up(connection: sqlite3.Connection, ledger: Ledger, since: int) -> tuple[Ledger, MemoryGraph]:
    """The ledger with what was committed after version `since`, tidied if it is time, and its graph."""
    ledger, version = graph_rows.catch_up(connection, ledger, since)
    if ledger.crowded:
        ledger = Ledger.of(compact(ledger.state()))
    return ledger, ledger.graph(version)
