"""The debt to the vector index: written with the truth, paid after it."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import dataclass
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
            while owed := await self._database.read(_next_owed, self._paid):
                for change in owed.changes:
                    await _tell(self._index, change)
                self._paid = owed.last
                if self._strike_at_once:
                    await self.strike()
                if not owed.more:
                    break

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
        await self._database.write(queries.settle_outbox, seq=paid)
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
            await self._database.write(queries.owe, owed)
            differing += len(owed)
        return differing

    async def owe_everything(self) -> None:
        """The index is owed every memory of the truth, and nothing else."""
        await self._database.write(_owe_everything, self._place)


def _owe_everything(connection: sqlite3.Connection, place: str) -> None:
    queries.clear_outbox(connection)
    queries.owe_level(connection)
    queries.forget_fact(connection, name=RESTORED)
    queries.set_fact(connection, name=INDEX_PLACE, value=place)


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
            await _tell(index, await database.read(_change, level, part))
            told(len(part))
    await index.flush()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Change:
    """What some memories of one level are now: points, or `gone`."""

    level: Level
    points: Sequence[Point]
    gone: Sequence[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Owed:
    """The oldest part of the debt, up to the write `last`."""

    changes: Sequence[_Change]
    last: int
    more: bool


def _next_owed(connection: sqlite3.Connection, after: int) -> _Owed | None:
    rows = list(queries.outbox_batch(connection, after=after, limit=BATCH))
    if not rows:
        return None
    ids = {level: {row["memory_id"] for row in rows if row["level"] == level} for level in Level}
    return _Owed(
        changes=[_change(connection, level, sorted(ids[level])) for level in Level if ids[level]],
        last=int(rows[-1]["seq"]),
        more=len(rows) == BATCH,
    )


def _change(connection: sqlite3.Connection, level: Level, memory_ids: Sequence[str]) -> _Change:
    listed = orjson.dumps(memory_ids).decode()
    points = [_point(row) for row in queries.points_by_id(connection, memory_ids=listed)]
    gone = set(memory_ids) - {point.memory_id for point in points}
    return _Change(level=level, points=points, gone=sorted(gone))


async def _tell(index: VectorIndex, change: _Change) -> None:
    if change.points:
        await index.upsert(change.level, change.points)
    if change.gone:
        await index.delete(change.level, change.gone)


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
