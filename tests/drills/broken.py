"""Orders of work that are wrong on purpose: what keeps cofio from losing anything is taken away, one thing at a time.

Each is right as long as nobody is killed, so that only a drill that works can tell. At a start cofio compares how much
index and truth hold, and would mend most of what these orders break: that is taken away as well.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final

import aiosqlite

from cofio import runtime
from cofio.graph import snapshot
from cofio.livegraph import LiveGraph
from cofio.memories import MeetingMemories
from cofio.records import Level
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

    async def torn(connection: aiosqlite.Connection, memories: MeetingMemories) -> None:
        await connection.commit()
        await connection.execute("BEGIN IMMEDIATE")
        await save_edges(connection, memories)

    meetings._save_edges = torn


def _index_before_commit() -> None:
    indexes: list[VectorIndex] = []
    open_index = runtime.open_index

    async def opened(settings: Settings) -> VectorIndex:
        indexes.append(await open_index(settings))
        return indexes[-1]

    @asynccontextmanager
    async def write(self: Database) -> AsyncIterator[aiosqlite.Connection]:
        async with self._writing:
            await self._writer.execute("BEGIN IMMEDIATE")
            try:
                yield self._writer
                if indexes:
                    await _pay_within(self._writer, indexes[-1])
                await self._writer.commit()
            except BaseException:
                await asyncio.shield(self._writer.rollback())
                raise

    runtime.open_index = opened
    Database.write = write  # type: ignore[method-assign]


class _Within:
    """Reads like a database, but what a transaction has not committed yet."""

    def __init__(self, connection: aiosqlite.Connection) -> None:
        self._connection = connection

    async def rows(self, query: Any, **values: object) -> list[sqlite3.Row]:
        return list(await self._connection.execute_fetchall(query.sql, values))


async def _pay_within(connection: aiosqlite.Connection, index: VectorIndex) -> None:
    within: Any = _Within(connection)
    rows = await within.rows(queries.outbox_batch, after=0, limit=1_000_000)
    for level in Level:
        owed = sorted({row["memory_id"] for row in rows if row["level"] == level})
        if owed:
            await outbox._bring_up_to_date(within, index, level, owed)
    await queries.clear_outbox(connection)


def _struck_before_paid() -> None:
    async def pay(self: Outbox) -> None:
        async with self._paying:
            rows = await self._database.rows(queries.outbox_batch, after=0, limit=1_000_000)
            async with self._database.write() as connection:
                await queries.settle_outbox(connection, seq=max((row["seq"] for row in rows), default=0))
            for level in Level:
                owed = sorted({row["memory_id"] for row in rows if row["level"] == level})
                if owed:
                    await outbox._bring_up_to_date(self._database, self._index, level, owed)

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
