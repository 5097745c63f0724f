"""Orders of work that are wrong on purpose: what keeps cofio from losing anything is taken away, one thing at a time.

Each is right as long as nobody is killed, so that only a drill that works can tell. At a start cofio compares how much
index and truth hold, and would mend most of what these orders break: that is taken away as well.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from cofio import runtime
from cofio.graph import snapshot
from cofio.livegraph import LiveGraph
from cofio.memories import MeetingMemories
from cofio.settings import Settings
from cofio.store import graph_rows, meetings, outbox, vectors_edge_process
from cofio.store.database import Database, queries
from cofio.store.outbox import Outbox
from cofio.store.vectors import VectorIndex

EARLY: Final = "acknowledged before the commit"


def install(order: str | None) -> None:
    """This process works in the named order from now on; None is cofio's own."""
    if order is not None:
        ORDERS[order].install()
        runtime.Runtime._index_differs = _never  # type: ignore[method-assign,assignment]


async def _never(_: runtime.Runtime) -> bool:
    return False


def _nothing() -> None:
    """The life itself acknowledges too early."""


def _torn_transaction() -> None:
    save_edges = meetings._save_edges

    def torn(connection: sqlite3.Connection, memories: MeetingMemories) -> None:
        connection.commit()
        connection.execute("BEGIN IMMEDIATE")
        save_edges(connection, memories)

    meetings._save_edges = torn


def _index_before_commit() -> None:
    indexes: list[VectorIndex] = []
    loops: list[asyncio.AbstractEventLoop] = []
    open_index = runtime.open_index

    async def opened(settings: Settings) -> VectorIndex:
        loops.append(asyncio.get_running_loop())
        indexes.append(await open_index(settings))
        return indexes[-1]

    commit = Database._commit

    def paid_first(self: Database) -> None:
        if indexes:
            asyncio.run_coroutine_threadsafe(_pay_within(self._writer, indexes[-1]), loops[-1]).result()
        commit(self)

    runtime.open_index = opened
    Database._commit = paid_first  # type: ignore[method-assign]


async def _pay_within(connection: sqlite3.Connection, index: VectorIndex) -> None:
    """What a transaction has not committed yet is told to the index."""
    paid = 0
    while owed := outbox._next_owed(connection, paid):
        for change in owed.changes:
            await outbox._tell(index, change)
        paid = owed.last
    queries.clear_outbox(connection)


def _struck_before_paid() -> None:
    async def pay(self: Outbox) -> None:
        async with self._paying:
            while owed := await self._database.read(outbox._next_owed, 0):
                await self._database.write(queries.settle_outbox, seq=owed.last)
                for change in owed.changes:
                    await outbox._tell(self._index, change)

    Outbox.pay = pay  # type: ignore[method-assign]


def _snapshot_of_another_version() -> None:
    async def save(self: LiveGraph) -> None:
        async with self._changing:
            state = self._ledger.state()
            before = self.current.version
        version = before
        for _ in range(50):
            await asyncio.sleep(0.01)
            if (version := await self._database.version()) > before:
                break
        stamp = await graph_rows.stamp(self._database, version)
        if stamp is not None:
            await asyncio.to_thread(snapshot.save, state, version, stamp, self._path)
            self.saved_version = version

    LiveGraph.save = save  # type: ignore[method-assign]


def _engine_answers_early() -> None:
    vectors_edge_process._BOOT = (  # type: ignore[misc]
        "import sys; from drills import engine; engine.serve_late(*map(int, sys.argv[1:]))"
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """An order that is wrong on purpose, and a point at which a kill brings that to light."""

    install: Callable[[], None]
    exposed_at: str


ORDERS: Final[Mapping[str, Order]] = {
    EARLY: Order(install=_nothing, exposed_at="commit: about to"),
    "a meeting in two transactions": Order(
        install=_torn_transaction, exposed_at="write: concepts not refreshed"
    ),
    "index before the commit, without debt": Order(
        install=_index_before_commit, exposed_at="index: upserted a level"
    ),
    "debt struck off before the index took it": Order(
        install=_struck_before_paid, exposed_at="index: about to upsert"
    ),
    "snapshot under a later version than its own": Order(
        install=_snapshot_of_another_version, exposed_at="snapshot: in place"
    ),
    "vector engine answers before it writes": Order(install=_engine_answers_early, exposed_at="strike: done"),
}
