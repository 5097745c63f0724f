"""What is taken out of the truth beyond one meeting: a project, or a speaker's part of a meeting."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass

import orjson

from cofio.errors import MeetingErased, NotFound
from cofio.records import Level
from cofio.store.audit import add_entry
from cofio.store.database import PURGE_OWED, Database, queries
from cofio.store.pseudonyms import pseudonym
from cofio.text.clean import folded


@dataclass(frozen=True, slots=True, kw_only=True)
class Erased:
    """What a transaction took out. `meetings` and `memories` are ids."""

    meetings: tuple[str, ...]
    memories: tuple[str, ...]
    removed_memories: Mapping[str, int]  # by level
    removed_edges: int


@dataclass(frozen=True, slots=True, kw_only=True)
class StillNamed:
    """Where a name still occurs: utterances of others, concepts, and titles or metadata of meetings."""

    utterances: int
    concepts: int
    meetings: int


async def delete_project(database: Database, project: str, *, actor: str) -> Erased:
    """The project, whole or not at all: its meetings, memories, edges, mentions, and what batches hold of it.

    One transaction, with its entry in the audit. Raises `NotFound` if nothing bears this name.
    """
    return await database.write(_delete_project, project, actor)


def _delete_project(connection: sqlite3.Connection, project: str, actor: str) -> Erased:
    meetings = list(queries.meetings_of_project(connection, project=project))
    waiting = int(queries.count_waiting_meetings(connection, project=project))
    failed = int(queries.count_failed_meetings(connection, project=project))
    if not meetings and not waiting and not failed:
        raise NotFound("There is no project of this name.", field="project")
    memories = list(queries.memory_ids_of_project(connection, project=project))
    edges = int(queries.count_edges_of_project(connection, project=project))
    queries.owe_deletion_of_project(connection, project=project)
    queries.delete_edges_of_project(connection, project=project)
    queries.delete_mentions_of_project(connection, project=project)
    queries.delete_memories_of_project(connection, project=project)
    queries.delete_meetings_of_project(connection, project=project)
    queries.forget_failed_meetings(connection, project=project)
    queries.withdraw_waiting_meetings(connection, project=project, result=orjson.dumps(WITHDRAWN).decode())
    queries.forget_owner_of_operations(connection, project=project)
    for row in meetings:
        queries.forget_meeting_in_operations(connection, meeting_id=row["meeting_id"])
    _record_changes(connection, meetings, memories)
    owe_purge(connection)
    by_level = {level.label: sum(row["level"] == level for row in memories) for level in Level}
    add_entry(
        connection,
        actor=actor,
        action="erase_project",
        subject=pseudonym(project),
        details={"meetings": len(meetings), "withdrawn": waiting, **by_level, "edges": edges},
    )
    return Erased(
        meetings=tuple(row["meeting_id"] for row in meetings),
        memories=tuple(row["memory_id"] for row in memories),
        removed_memories=by_level,
        removed_edges=edges,
    )


# What a batch tells of a meeting that was taken out of it.
WITHDRAWN = {
    "code": MeetingErased.code,
    "title": MeetingErased.title(),
    "detail": "Its project was erased.",
    "field": None,
}


async def forget_quotes(database: Database) -> None:
    """No failure of a batch's meeting quotes what its transcript said."""
    await database.write(queries.forget_quoting_failures)


def owe_purge(connection: sqlite3.Connection) -> None:
    """The files of the vector index are to be rid of what was deleted."""
    version = queries.version(connection)
    queries.set_fact(connection, name=PURGE_OWED, value=str(version))


async def meetings_of_speaker(database: Database, name: str, project: str | None) -> tuple[int, ...]:
    """The row ids of the meetings in which somebody of this name spoke or took part, however it is capitalised."""
    wanted = name.casefold()
    projects = (
        [project]
        if project is not None
        else [row["project"] for row in await database.rows(queries.projects)]
    )
    found: set[int] = set()
    for one in projects:
        rows = await database.rows(queries.meetings_spoken_in, project=one, concept_key=f"person:{wanted}")
        found.update(int(row["meeting"]) for row in rows)
    for row in await database.rows(queries.meetings_with_participants, project=project):
        if any(participant.casefold() == wanted for participant in orjson.loads(row["participants"])):
            found.add(int(row["id"]))
    return tuple(sorted(found))


@dataclass(frozen=True, slots=True, kw_only=True)
class WaitingMeeting:
    """What a meeting that a batch has yet to ingest tells of who is in it, as it was sent."""

    transcript: str
    format: str | None
    participants: tuple[str, ...]


async def waiting_meetings(database: Database, project: str | None) -> AsyncIterator[WaitingMeeting]:
    """The meetings that batches have yet to ingest, one at a time: each may be large."""
    for place in await database.rows(queries.waiting_meetings, project=project):
        for row in await database.rows(queries.waiting_meeting, **dict(place)):
            # Not by SQLite's JSON, which ends a text at its first NUL.
            payload = await asyncio.to_thread(orjson.loads, row["payload"])
            yield WaitingMeeting(
                transcript=payload["transcript"],
                format=payload["format"],
                participants=tuple(payload["participants"]),
            )


async def still_named(database: Database, name: str, project: str | None) -> StillNamed:
    """Where the name occurs in what is left."""
    (row,) = await database.rows(queries.still_named, name=folded(name), project=project)
    return StillNamed(utterances=row["utterances"], concepts=row["concepts"], meetings=row["meetings"])


def _record_changes(
    connection: sqlite3.Connection, meetings: list[sqlite3.Row], memories: list[sqlite3.Row]
) -> None:
    """One change a meeting; the first of them names the concepts, which all go."""
    concepts = [row["memory_id"] for row in memories if row["level"] == Level.CONCEPT]
    version = 0
    for row in meetings:
        version = queries.record_change(
            connection, meeting=row["id"], concepts=orjson.dumps(concepts).decode()
        )
        concepts = []
    if meetings:
        queries.forget_old_changes(connection, version=version)
