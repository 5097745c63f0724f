"""The debt to the vector index: written with the truth, paid after it."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable, Sequence
from datetime import date
from typing import Final

import numpy as np
import orjson

from cofio.records import Level
from cofio.store.database import INDEX_PLACE, RESTORED, Database, queries
from cofio.store.pseudonyms import pseudonym
from cofio.store.turns import Turns
from cofio.store.vectors import Payload, Point, VectorIndex

BATCH: Final = 1000
TURN: Final = "pay the vector index"


class Outbox:
    """The debt of one truth to one index, which is at `place`.

    A write is *paid* when the index has taken it, and *struck* off when the index has also flushed it: flushing takes
    tens of milliseconds, so it is not done for every meeting. What was paid and not struck is paid again after a crash.

    Processes that share the truth take turns, so that none tells the index what a memory was before another changed
    it; there everything is struck when it is paid (`strike_at_once`), and nobody pays what another has paid.
    """

    def __init__(
        self, database: Database, index: VectorIndex, turns: Turns, *, place: str, strike_at_once: bool
    ) -> None:
        self._database = database
        self._index = index
        self._place = place
        self._turns = turns
        self._strike_at_once = strike_at_once
        self._paying = asyncio.Lock()
        self._paid = 0
        self._struck = 0

    async def pay(self) -> None:
        """The index holds what the truth held when this began.

        Safe to repeat and to interrupt: the index is told what a memory is *now*. Raises `VectorStoreUnavailable`, with
        the rest still owed. Calls that come in together share the work.
        """
        async with self._paying, self._turns.turn(TURN):
            while rows := await self._database.rows(queries.outbox_batch, after=self._paid, limit=BATCH):
                for level in Level:
                    owed = sorted({row["memory_id"] for row in rows if row["level"] == level})
                    if owed:
                        await _bring_up_to_date(self._database, self._index, level, owed)
                self._paid = int(rows[-1]["seq"])
                if self._strike_at_once:
                    await self.strike()

    async def doubt(self) -> None:
        """What was paid and not struck off is owed again: the index may have lost it."""
        async with self._paying:
            self._paid = self._struck

    async def strike(self) -> None:
        """What was paid before the call survives a power cut, and is owed no more."""
        paid = self._paid
        if paid == self._struck:
            return
        await self._index.flush()
        async with self._database.write() as connection:
            await queries.settle_outbox(connection, seq=paid)
        self._struck = paid

    async def owed(self) -> int:
        """How many writes the index has not taken yet."""
        (row,) = await self._database.rows(queries.outbox_size, after=self._paid)
        return int(row[0])

    async def owe_differences(self) -> int:
        """The index is owed what it lacks and what it holds too much; returns how many memories that are."""
        differing = 0
        for level in Level:
            rows = await self._database.rows(queries.memory_ids_of_level, level=int(level))
            ids = {row["memory_id"] for row in rows} ^ await self._index.ids(level)
            owed = [
                {"level": int(level), "memory_id": memory_id, "operation": "upsert"}
                for memory_id in sorted(ids)
            ]
            async with self._database.write() as connection:
                await queries.owe(connection, owed)
            differing += len(owed)
        return differing

    async def owe_everything(self) -> None:
        """The index is owed every memory of the truth, and nothing else."""
        async with self._database.write() as connection:
            await queries.clear_outbox(connection)
            await queries.owe_level(connection)
            await queries.forget_fact(connection, name=RESTORED)
            await queries.set_fact(connection, name=INDEX_PLACE, value=self._place)


async def fill(database: Database, index: VectorIndex, told: Callable[[int], None]) -> None:
    """The index holds every memory of the truth, and nothing else, through a power cut too.

    Nobody may write meanwhile. `told` hears how many memories each step brought. Raises `VectorStoreUnavailable`.
    """
    await index.ready()
    await index.clear()
    for level in Level:
        ids = [row["memory_id"] for row in await database.rows(queries.memory_ids_of_level, level=int(level))]
        for start in range(0, len(ids), BATCH):
            part = ids[start : start + BATCH]
            await _bring_up_to_date(database, index, level, part)
            told(len(part))
    await index.flush()


async def _bring_up_to_date(
    database: Database, index: VectorIndex, level: Level, memory_ids: Sequence[str]
) -> None:
    listed = orjson.dumps(memory_ids).decode()
    rows = await database.rows(queries.points_by_id, memory_ids=listed)
    await index.upsert(level, [_point(row) for row in rows])
    await index.delete(level, sorted(set(memory_ids) - {row["memory_id"] for row in rows}))


def _point(row: sqlite3.Row) -> Point:
    return Point(
        memory_id=row["memory_id"],
        vector=np.frombuffer(row["vector"], "<f4"),
        payload=Payload(
            project=row["project"],
            memory_type=row["memory_type"],
            speaker=pseudonym(row["speaker"]) if row["speaker"] is not None else None,
            meeting_id=row["meeting_id"],
            series=row["series"],
            date_ordinal=date.fromisoformat(row["date"]).toordinal() if row["date"] is not None else None,
        ),
    )
