"""The debt to the vector index: written with the truth, paid after it."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence
from datetime import date
from typing import Final

import numpy as np
import orjson

from cofio.records import Level
from cofio.store.database import Database, queries
from cofio.store.pseudonyms import pseudonym
from cofio.store.vectors import Payload, Point, VectorIndex

BATCH: Final = 1000


async def pay(database: Database, index: VectorIndex) -> int:
    """The vector index holds what the truth held when this began; returns how many writes were paid.

    Safe to repeat and to interrupt: the index is told what a memory is *now*, and a debt is struck off only
    after the index has taken it. Raises `VectorStoreUnavailable`, with the rest still owed.
    """
    paid = 0
    after = 0
    while True:
        async with database.read() as connection:
            rows = [row async for row in queries.outbox_batch(connection, after=after, limit=BATCH)]
        if not rows:
            if paid:
                await index.flush()
                async with database.write() as connection:
                    await queries.settle_outbox(connection, seq=after)
            return paid
        after = int(rows[-1]["seq"])
        for level in Level:
            owed = sorted({row["memory_id"] for row in rows if row["level"] == level})
            if owed:
                await _bring_up_to_date(database, index, level, owed)
        paid += len(rows)


async def owe_everything(database: Database) -> None:
    """The index is owed every memory of the truth, and nothing else."""
    async with database.write() as connection:
        await queries.clear_outbox(connection)
        await queries.owe_level(connection)


async def _bring_up_to_date(
    database: Database, index: VectorIndex, level: Level, memory_ids: Sequence[str]
) -> None:
    listed = orjson.dumps(memory_ids).decode()
    async with database.read() as connection:
        rows = [row async for row in queries.points_by_id(connection, memory_ids=listed)]
        meetings: dict[str, list[sqlite3.Row]] = {}
        if level is Level.CONCEPT:
            async for row in queries.meetings_of_concepts(connection, memory_ids=listed):
                meetings.setdefault(row["memory_id"], []).append(row)
    await index.upsert(level, [_point(row, meetings) for row in rows])
    await index.delete(level, sorted(set(memory_ids) - {row["memory_id"] for row in rows}))


def _point(row: sqlite3.Row, meetings: Mapping[str, Sequence[sqlite3.Row]]) -> Point:
    among = meetings.get(row["memory_id"], [row] if row["meeting_id"] is not None else [])
    return Point(
        memory_id=row["memory_id"],
        vector=np.frombuffer(row["vector"], "<f4"),
        payload=Payload(
            project=row["project"],
            memory_type=row["memory_type"],
            speaker=pseudonym(row["speaker"]) if row["speaker"] is not None else None,
            meeting_id=[meeting["meeting_id"] for meeting in among],
            series=sorted({meeting["series"] for meeting in among if meeting["series"] is not None}),
            date_ordinal=sorted(
                {date.fromisoformat(m["date"]).toordinal() for m in among if m["date"] is not None}
            ),
        ),
    )
