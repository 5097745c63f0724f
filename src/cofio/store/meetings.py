"""Meetings in the truth: each is written, and deleted, with all that it became, in one transaction."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Final

import numpy as np
import orjson

from cofio.errors import InvalidInput, MeetingErased, NotFound
from cofio.memories import MeetingMemories, Memory
from cofio.records import (
    VECTOR_DIMENSIONS,
    Deletion,
    Episode,
    Float32s,
    Level,
    MeetingPage,
    MeetingSummary,
    MemoryType,
)
from cofio.store.audit import add_entry
from cofio.store.concepts import refresh_concepts
from cofio.store.database import Database, queries
from cofio.store.erasure import owe_purge
from cofio.vector_rules import check_vectors, read_vectors

# Where a page of meetings ends: the date and the row id of its last one.
CURSOR: Final = r"([0-9]{4}-[0-9]{2}-[0-9]{2})?\.[0-9a-f-]{36}"


@dataclass(frozen=True, slots=True, kw_only=True)
class MeetingRecord:
    """A meeting's own facts, as they are stored beside its memories."""

    meeting_id: str
    project: str
    series: str | None
    title: str
    date: date | None
    external_id: str | None
    format: str
    participants: tuple[str, ...]
    metadata: Mapping[str, object]
    document: bool
    content_hash: str
    duration_s: float | None
    ingested_at: str | None = None  # ISO instant in UTC; None stands for now


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredMeeting:
    """What is known of a meeting that was stored before: its key, its content and its episodes' vectors."""

    key: int
    content_hash: str
    format: str
    vectors: Mapping[str, Float32s]  # (400,) by memory id of the episode


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenQuestion:
    """A question that another meeting of the project left open. `vector` is (400,)."""

    concept_key: str
    memory_id: str
    content: str
    vector: Float32s
    date: date | None
    series: str | None


async def stored_meeting(database: Database, meeting_id: str) -> StoredMeeting | None:
    """The meeting as it is stored, or None."""
    return await database.read(_stored_meeting, meeting_id)


def _stored_meeting(connection: sqlite3.Connection, meeting_id: str) -> StoredMeeting | None:
    row = queries.meeting(connection, meeting_id=meeting_id, project=None)
    if row is None:
        return None
    episodes = list(queries.episodes_of_meeting(connection, meeting=row["id"]))
    ids = [episode["memory_id"] for episode in episodes]
    return StoredMeeting(
        key=row["id"],
        content_hash=row["content_hash"],
        format=row["format"],
        vectors=dict(zip(ids, read_vectors(ids, [episode["vector"] for episode in episodes]), strict=True)),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptMeeting:
    """A meeting as it is stored: its facts and its episodes, with their ids and vectors (n, 400)."""

    key: int
    record: MeetingRecord
    ids: tuple[str, ...]
    episodes: tuple[Episode, ...]
    vectors: Float32s


async def kept_meeting(database: Database, key: int) -> KeptMeeting | None:
    """The meeting with this row id, from one state of the truth; None if it is gone."""
    return await database.read(_kept_meeting, key)


def _kept_meeting(connection: sqlite3.Connection, key: int) -> KeptMeeting | None:
    rows = list(queries.meetings_by_rowid(connection, ids=f"[{key}]"))
    if not rows:
        return None
    episodes = list(queries.episodes_to_keep(connection, meeting=key))
    record = meeting_record(rows[0])
    return KeptMeeting(
        key=key,
        record=record,
        ids=tuple(row["memory_id"] for row in episodes),
        episodes=tuple(
            Episode(
                text=row["content"],
                position=row["position"],
                words=row["words"],
                speaker=row["speaker"],
                title=record.title if record.document else None,
                start_s=row["start_s"],
                end_s=row["end_s"],
            )
            for row in episodes
        ),
        vectors=np.frombuffer(b"".join(row["vector"] for row in episodes), "<f4").reshape(
            -1, VECTOR_DIMENSIONS
        ),
    )


def meeting_record(row: sqlite3.Row) -> MeetingRecord:
    """The facts in a row of `meetings`."""
    return MeetingRecord(
        meeting_id=row["meeting_id"],
        project=row["project"],
        series=row["series"],
        title=row["title"],
        date=date.fromisoformat(row["date"]) if row["date"] else None,
        external_id=row["external_id"],
        format=row["format"],
        participants=tuple(orjson.loads(row["participants"])),
        metadata=orjson.loads(row["metadata"]),
        document=bool(row["document"]),
        content_hash=row["content_hash"],
        duration_s=row["duration_s"],
        ingested_at=row["ingested_at"],
    )


async def project_knowledge(
    database: Database, project: str, meeting_key: int | None, keys: frozenset[str], limit: int
) -> tuple[frozenset[str], tuple[OpenQuestion, ...]]:
    """Which of the concept `keys` the project knows, and the questions that its other meetings left open."""
    return await database.read(_project_knowledge, project, meeting_key, keys, limit)


def _project_knowledge(
    connection: sqlite3.Connection, project: str, meeting_key: int | None, keys: frozenset[str], limit: int
) -> tuple[frozenset[str], tuple[OpenQuestion, ...]]:
    wanted = orjson.dumps(sorted(keys)).decode()
    known = queries.known_keys(connection, project=project, keys=wanted)
    rows = queries.open_questions(
        connection, project=project, meeting=-1 if meeting_key is None else meeting_key, limit=limit
    )
    return frozenset(row["concept_key"] for row in known), tuple(
        OpenQuestion(
            concept_key=row["concept_key"],
            memory_id=row["memory_id"],
            content=row["content"],
            vector=read_vectors([row["memory_id"]], [row["vector"]])[0],
            date=date.fromisoformat(row["date"]) if row["date"] else None,
            series=row["series"],
        )
        for row in rows
    )


async def save_meeting(
    database: Database,
    record: MeetingRecord,
    memories: MeetingMemories,
    *,
    still_wanted: Callable[[sqlite3.Connection], bool] = lambda connection: True,
) -> None:
    """The meeting is stored exactly as `memories` say, with its share in the project's concepts.

    One transaction writes the meeting, its memories, edges and mentions, the concepts that they change, the debt
    to the vector index and one change of version. Memories that it had before and has no more are gone. Raises
    `InvalidVector`, with nothing stored, if one of the memories has a vector that it may not have, and `MeetingErased` if
    the transaction finds it not `still_wanted`.
    """
    _check(memories)
    await database.write(_save_if_wanted, record, memories, still_wanted)


def _save_if_wanted(
    connection: sqlite3.Connection,
    record: MeetingRecord,
    memories: MeetingMemories,
    still_wanted: Callable[[sqlite3.Connection], bool],
) -> None:
    if not still_wanted(connection):
        raise MeetingErased("Its project was erased.")
    _save_meeting(connection, record, memories)


async def save_what_is_left(
    database: Database, record: MeetingRecord, memories: MeetingMemories, *, actor: str
) -> Deletion:
    """The meeting is stored as by `save_meeting`, after an erasure by `actor`; returns how much less there is than before.

    The same transaction tells it in the audit and owes the purge of the index. Less than nothing means more.
    """
    _check(memories)
    return await database.write(_save_what_is_left, record, memories, actor)


def _save_what_is_left(
    connection: sqlite3.Connection, record: MeetingRecord, memories: MeetingMemories, actor: str
) -> Deletion:
    before = queries.counts(connection)
    gone = _save_meeting(connection, record, memories)
    queries.forget_warnings_in_operations(connection, meeting_id=record.meeting_id)
    owe_purge(connection)
    add_entry(
        connection,
        actor=actor,
        action="erase_speaker",
        subject=record.meeting_id,
        details={"L2": sum(level == Level.EPISODE for _, level in gone)},
    )
    return _deletion(record.meeting_id, before, queries.counts(connection))


def _check(memories: MeetingMemories) -> None:
    kept = [*memories.episodes, *memories.contexts]
    if kept:
        check_vectors([memory.memory_id for memory in kept], np.stack([memory.vector for memory in kept]))


def _save_meeting(
    connection: sqlite3.Connection, record: MeetingRecord, memories: MeetingMemories
) -> set[tuple[str, int]]:
    """Returns the memories, with their levels, that the meeting had and has no more."""
    kept = [*memories.episodes, *memories.contexts]
    queries.save_meeting(connection, **_meeting_row(record))
    stored = queries.meeting(connection, meeting_id=record.meeting_id, project=record.project)
    key = int(stored["id"])
    before = {
        (row["memory_id"], row["level"]) for row in queries.memory_ids_of_meeting(connection, meeting=key)
    }
    gone = before - {(memory.memory_id, int(memory.level)) for memory in kept}
    old_keys = {row["concept_key"] for row in queries.concept_keys_of_meeting(connection, meeting=key)}
    answering = _meetings_that_answer(connection, gone, key)
    queries.delete_edges_of_meeting(connection, meeting=key)
    queries.delete_memories(connection, [{"memory_id": memory_id} for memory_id, _ in sorted(gone)])
    queries.delete_mentions_of_meeting(connection, meeting=key)
    queries.save_memories(connection, [_memory_row(memory, record.project, key) for memory in kept])
    _save_edges(connection, memories)
    queries.save_mentions(connection, _mention_rows(memories, record.project, key))
    _owe(connection, "delete", gone)
    _owe(connection, "upsert", [(memory.memory_id, int(memory.level)) for memory in kept])
    keys = old_keys | {mention.key for mention in memories.mentions}
    _record_change(connection, record.project, keys, key, only_added=not old_keys, also=answering)
    return gone


async def delete_meeting(
    database: Database,
    meeting_id: str,
    *,
    project: str | None = None,
    actor: str,
    action: str = "delete_meeting",
) -> Deletion:
    """The meeting, its memories, edges, mentions and its titles in operations are gone; concepts are refreshed.

    The audit tells it in the same transaction. Raises `NotFound` if there is no such meeting, or none in this project.
    """
    return await database.write(_delete_meeting, meeting_id, project, actor, action)


def _delete_meeting(
    connection: sqlite3.Connection, meeting_id: str, project: str | None, actor: str, action: str
) -> Deletion:
    row = _existing(connection, meeting_id, project)
    key = int(row["id"])
    memories = [
        (memory["memory_id"], memory["level"])
        for memory in queries.memory_ids_of_meeting(connection, meeting=key)
    ]
    keys = {mention["concept_key"] for mention in queries.concept_keys_of_meeting(connection, meeting=key)}
    before = queries.counts(connection)
    answering = _meetings_that_answer(connection, memories, key)
    queries.delete_meeting(connection, id=key)
    queries.forget_meeting_in_operations(connection, meeting_id=meeting_id)
    _owe(connection, "delete", memories)
    _record_change(connection, row["project"], keys, key, only_added=False, also=answering)
    removed = _deletion(meeting_id, before, queries.counts(connection))
    named = queries.names_in_use(connection, project=row["project"], series=row["series"])
    if not named["in_use"]:
        owe_purge(connection)
    details = {**removed.removed_memories, "edges": removed.removed_edges}
    add_entry(connection, actor=actor, action=action, subject=meeting_id, details=details)
    return removed


def _deletion(meeting_id: str, before: sqlite3.Row, after: sqlite3.Row) -> Deletion:
    """How much there was `before` in the transaction, and is no more."""
    return Deletion(
        meeting_id=meeting_id,
        removed_memories={
            level.label: before[level.label.lower()] - after[level.label.lower()] for level in Level
        },
        removed_edges=before["edges"] - after["edges"],
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Holdings:
    """How much a stored meeting holds: memories by level and type, edges by kind."""

    by_level: Mapping[str, int]
    by_type: Mapping[str, int]
    edges: Mapping[str, int]


def holdings(connection: sqlite3.Connection, key: int) -> Holdings:
    """What the meeting with row id `key` holds now."""
    by_level = {"L0": int(queries.concept_count(connection, meeting=key)), "L1": 0, "L2": 0}
    by_type = {kind.value: 0 for kind in MemoryType}
    for row in queries.memory_counts(connection, meeting=key):
        by_level[Level(row["level"]).label] += row["n"]
        if row["level"] == Level.EPISODE:
            by_type[row["memory_type"]] += row["n"]
    edges = {row["kind"]: int(row["n"]) for row in queries.edge_counts(connection, meeting=key)}
    return Holdings(by_level=by_level, by_type=by_type, edges=edges)


async def meeting_holdings(database: Database, meeting_id: str) -> Holdings:
    """What a meeting holds now; raises `NotFound` if there is none."""
    return await database.read(
        lambda connection: holdings(connection, _existing(connection, meeting_id)["id"])
    )


async def meeting_summary(database: Database, meeting_id: str, project: str | None = None) -> MeetingSummary:
    """One stored meeting; raises `NotFound` if there is none, or none in this project."""
    return await database.read(
        lambda connection: _summary(connection, _existing(connection, meeting_id, project))
    )


async def page_of_meetings(
    database: Database, *, limit: int, cursor: str | None, project: str | None, series: str | None
) -> MeetingPage:
    """One page of the meetings, newest first. Raises `InvalidInput` for a cursor that no page gave."""
    after_date, after_id = _read_cursor(cursor) if cursor is not None else (None, None)
    return await database.read(_page_of_meetings, limit, after_date, after_id, project, series)


def _page_of_meetings(
    connection: sqlite3.Connection,
    limit: int,
    after_date: str | None,
    after_id: str | None,
    project: str | None,
    series: str | None,
) -> MeetingPage:
    rows = list(
        queries.page_of_meetings(
            connection,
            project=project,
            series=series,
            after_date=after_date,
            after_id=after_id,
            limit=limit + 1,
        )
    )
    total = int(queries.count_meetings(connection, project=project, series=series))
    meetings = [_summary(connection, row) for row in rows[:limit]]
    more = len(rows) > limit
    return MeetingPage(
        meetings=tuple(meetings), total=total, next_cursor=_write_cursor(rows[limit - 1]) if more else None
    )


def _existing(connection: sqlite3.Connection, meeting_id: str, project: str | None = None) -> sqlite3.Row:
    row: sqlite3.Row | None = queries.meeting(connection, meeting_id=meeting_id, project=project)
    if row is None:
        raise NotFound(f"There is no meeting {meeting_id}.", field="meeting_id")
    return row


def _save_edges(connection: sqlite3.Connection, memories: MeetingMemories) -> None:
    ends = orjson.dumps(
        sorted({end for edge in memories.edges for end in (edge.source, edge.target)})
    ).decode()
    ids = {row["memory_id"]: row["id"] for row in queries.memory_rowids(connection, memory_ids=ends)}
    # The question of another meeting may have been deleted since it was read.
    rows = [
        {
            "source": ids[edge.source],
            "target": ids[edge.target],
            "kind": edge.kind.value,
            "weight": edge.weight,
        }
        for edge in memories.edges
        if edge.target in ids
    ]
    queries.save_edges(connection, rows)


def _owe(
    connection: sqlite3.Connection,
    operation: str,
    memories: Sequence[tuple[str, int]] | set[tuple[str, int]],
) -> None:
    rows = [
        {"level": level, "memory_id": memory_id, "operation": operation}
        for memory_id, level in sorted(memories)
    ]
    queries.owe(connection, rows)


def _meetings_that_answer(
    connection: sqlite3.Connection, gone: Iterable[tuple[str, int]], meeting: int
) -> list[int]:
    """Row ids of the other meetings that lose an edge when the memories of this one that are `gone` are removed."""
    listed = orjson.dumps([memory_id for memory_id, _ in gone]).decode()
    rows = queries.meetings_that_answer(connection, questions=listed, meeting=meeting)
    return sorted(int(row["meeting"]) for row in rows)


def _record_change(
    connection: sqlite3.Connection,
    project: str,
    keys: set[str],
    meeting: int,
    *,
    only_added: bool,
    also: Iterable[int],
) -> None:
    """The meeting, its concepts, and the meetings `also` changed with it are told to those who follow."""
    for other in also:
        queries.record_change(connection, meeting=other, concepts="[]")
    concepts = refresh_concepts(
        connection, project=project, keys=keys, meeting=meeting, only_added=only_added
    )
    version = queries.record_change(
        connection, meeting=meeting, concepts=orjson.dumps(list(concepts)).decode()
    )
    queries.forget_old_changes(connection, version=version)


def _meeting_row(record: MeetingRecord) -> dict[str, object]:
    return {
        "meeting_id": record.meeting_id,
        "project": record.project,
        "series": record.series,
        "title": record.title,
        "date": record.date.isoformat() if record.date else None,
        "external_id": record.external_id,
        "format": record.format,
        "participants": orjson.dumps(list(record.participants)).decode(),
        "metadata": orjson.dumps(dict(record.metadata)).decode(),
        "document": record.document,
        "content_hash": record.content_hash,
        "duration_s": record.duration_s,
        "ingested_at": record.ingested_at or datetime.now(UTC).isoformat(timespec="seconds"),
    }


def _memory_row(memory: Memory, project: str, meeting: int) -> dict[str, object]:
    return {
        "memory_id": memory.memory_id,
        "level": int(memory.level),
        "project": project,
        "meeting": meeting,
        "position": memory.position,
        "memory_type": memory.memory_type.value,
        "content": memory.content,
        "words": memory.words,
        "speaker": memory.speaker,
        "start_s": memory.start_s,
        "end_s": memory.end_s,
        "pure_question": memory.pure_question,
        "details": orjson.dumps(dict(memory.details)).decode(),
        "vector": memory.vector.astype("<f4").tobytes(),
    }


def _mention_rows(memories: MeetingMemories, project: str, meeting: int) -> list[dict[str, object]]:
    return [
        {
            "project": project,
            "concept_key": mention.key,
            "meeting": meeting,
            "kind": mention.kind.value,
            "label": mention.label,
            "salience": mention.salience,
            "contexts": mention.contexts,
            "episodes": orjson.dumps(list(mention.episodes)).decode(),
            "definition": mention.definition,
            "vector_sum": mention.vector_sum.astype("<f4").tobytes(),
        }
        for mention in memories.mentions
    ]


def _summary(connection: sqlite3.Connection, row: sqlite3.Row) -> MeetingSummary:
    held = holdings(connection, row["id"])
    return MeetingSummary(
        meeting_id=row["meeting_id"],
        title=row["title"],
        date=row["date"],
        project=row["project"],
        series=row["series"],
        external_id=row["external_id"],
        format=row["format"],
        participants=tuple(orjson.loads(row["participants"])),
        duration_s=row["duration_s"],
        memories_by_level=held.by_level,
        ingested_at=row["ingested_at"],
        metadata=orjson.loads(row["metadata"]),
    )


def _write_cursor(row: sqlite3.Row) -> str:
    return f"{row['date'] or ''}.{row['meeting_id']}"


def _read_cursor(cursor: str) -> tuple[str, str]:
    if not re.fullmatch(CURSOR, cursor):
        raise InvalidInput(
            "The cursor is not one that a page of meetings gave; leave it out to start at the first page.",
            field="cursor",
        )
    after_date, _, after_id = cursor.partition(".")
    return after_date, after_id


async def episode_texts(database: Database) -> Mapping[str, str]:
    """The text of every episode by its memory id."""
    return {row["memory_id"]: row["content"] for row in await database.rows(queries.episode_texts)}
