"""Memories as answers show them."""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Mapping, Sequence, Set
from types import MappingProxyType
from typing import Any, Final

import numpy as np
import orjson

from cofio.errors import NotFound
from cofio.records import SEMANTIC_DIMENSIONS, EdgeKind, Level, MemoryDetail, MemoryMetadata, Neighbour, value
from cofio.store.database import Database, queries
from cofio.text.features import FEATURES

# The neighbours of one memory that are shown at most; a person has tens of thousands.
NEIGHBOURS: Final = 200
_LEVELS: Final = tuple(Level)
_NOWHERE: Final[Mapping[str, int]] = MappingProxyType({})


@value
class Shown:
    """The part of a memory that every kind of answer shows."""

    memory_id: str
    content: str
    memory_type: str
    level: Level
    metadata: MemoryMetadata


def shown_memories(database: Database, memory_ids: Set[str]) -> Mapping[str, Shown]:
    """The memories that exist among `memory_ids`, by id, from one state of the truth; reads in the calling thread."""
    found = (shown(row) for row in stored_memories(database, memory_ids))
    return {memory.memory_id: memory for memory in found}


def stored_memories(
    database: Database, memory_ids: Set[str], rows: Mapping[str, int] = _NOWHERE
) -> list[Sequence[Any]]:
    """What `shown` makes memories of, for those that exist; reads in the calling thread.

    `rows` are the row ids of some of them, as they were: who is found there need not be looked up by id, which costs a page
    of the file each.
    """
    found = _stored(database, [rows[one] for one in memory_ids if one in rows], memory_ids - rows.keys())
    if lost := rows.keys() & memory_ids - {one[0] for one in found}:
        found += _stored(database, (), lost)
    return [one for one in found if one[0] in memory_ids]


def _stored(database: Database, rows: Collection[int], memory_ids: Collection[str]) -> list[Sequence[Any]]:
    if not rows and not memory_ids:
        return []
    at, named = (orjson.dumps(sorted(listed)).decode() for listed in (rows, memory_ids))
    ((found,),) = database.select(queries.memories_at, rows=at, memory_ids=named)
    stored: list[Sequence[Any]] = orjson.loads(found)
    return stored


async def memory_detail(database: Database, memory_id: str, project: str | None = None) -> MemoryDetail:
    """One memory with its features and neighbours; raises `NotFound` if there is none, or none in this project."""
    return await database.read(_memory_detail, memory_id, project)


def _memory_detail(connection: sqlite3.Connection, memory_id: str, project: str | None) -> MemoryDetail:
    row = queries.memory(connection, memory_id=memory_id, project=project)
    if row is None:
        raise NotFound(f"There is no memory {memory_id}.", field="memory_id")
    neighbours = queries.neighbours(connection, id=row["id"], limit=NEIGHBOURS)
    memory = shown(row)
    features = np.frombuffer(row["vector"], "<f4")[SEMANTIC_DIMENSIONS:]
    return MemoryDetail(
        memory_id=memory.memory_id,
        content=memory.content,
        memory_type=memory.memory_type,
        level=memory.level.label,
        metadata=memory.metadata,
        features={name: round(float(value), 4) for name, value in zip(FEATURES, features, strict=True)},
        neighbours=tuple(_neighbour(row) for row in neighbours),
    )


def _neighbour(row: sqlite3.Row) -> Neighbour:
    backwards = row["kind"] == EdgeKind.NEXT.value and row["direction"] == "in"
    return Neighbour(
        kind="previous" if backwards else row["kind"],
        direction="out" if backwards else row["direction"],
        weight=row["weight"],
        memory_id=row["memory_id"],
        level=Level(row["level"]).label,
        content=row["content"],
    )


def shown(row: Sequence[Any]) -> Shown:
    """A stored memory as answers show it: a row of `memories_at`, or one that begins with its columns.

    Times are rounded to a microsecond.
    """
    # By place, not by name: a hundred memories an answer make this the longest part of putting it together.
    (
        memory_id, number, project, position, memory_type, content, speaker, start_s, end_s, stored, meeting_id, title,
        dated, series,
    ) = row[:14]  # fmt: skip
    level = _LEVELS[number]
    details = {} if stored == "{}" else orjson.loads(stored)
    metadata = MemoryMetadata(
        meeting_id=meeting_id,
        title=title,
        date=details.get("first_date") if level is Level.CONCEPT else dated,
        project=project,
        series=series,
        speaker=speaker,
        start_s=_to_microsecond(start_s),
        end_s=_to_microsecond(end_s),
        position=position,
        label=details.get("label"),
        speakers=tuple(details.get("speakers", ())),
        owners=tuple(details.get("owners", ())),
        due=details.get("due"),
        concept_kind=details.get("concept_kind"),
        mentions=details.get("mentions"),
        last_date=details.get("last_date"),
        defined_by=details.get("defined_by"),
    )
    return Shown(
        memory_id=memory_id, content=content, memory_type=memory_type, level=level, metadata=metadata
    )


def _to_microsecond(seconds: float | None) -> float | None:
    # SQLite writes fifteen digits of a number into JSON.
    return None if seconds is None else round(seconds, 6)
