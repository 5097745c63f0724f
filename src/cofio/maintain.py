"""Looking after the memory: what is stored, taking it out again, and making the three stores agree."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from cofio.access.keys import keys_path, read_keys
from cofio.graph.ledger import DEFINITION_WEIGHT
from cofio.graph.spread import defined_by, naming
from cofio.records import NAMES, Deletion, Level, MeetingPage, MeetingSummary, MemoryDetail, Neighbour
from cofio.runtime import Runtime
from cofio.store import meetings, recalled
from cofio.store.audit import LOCAL, AuditPage, add_entry, add_entry_once, page_of_audit
from cofio.store.database import Database, queries
from cofio.store.vectors import VectorIndex


@dataclass(frozen=True, slots=True, kw_only=True)
class Diagnosis:
    """Counts of the three stores by level, what is wrong with them, and what was mended."""

    truth: Mapping[str, int]
    index: Mapping[str, int]
    graph: Mapping[str, int]
    problems: tuple[str, ...]
    repaired: tuple[str, ...]


async def list_meetings(
    runtime: Runtime,
    *,
    limit: int = 50,
    cursor: str | None = None,
    project: str | None = None,
    series: str | None = None,
) -> MeetingPage:
    """One page of the stored meetings, newest first."""
    return await meetings.page_of_meetings(
        runtime.database, limit=limit, cursor=cursor, project=project, series=series
    )


async def get_meeting(runtime: Runtime, meeting_id: str, *, project: str | None = None) -> MeetingSummary:
    """One stored meeting, of this project if one is given; raises `NotFound`."""
    return await meetings.meeting_summary(runtime.database, meeting_id, project)


async def get_memory(runtime: Runtime, memory_id: str, *, project: str | None = None) -> MemoryDetail:
    """One memory with its neighbours, of this project if one is given; raises `NotFound`.

    What a document names is found by comparing all titles, so these neighbours come from the graph.
    """
    detail = await recalled.memory_detail(runtime.database, memory_id, project)
    graph = runtime.live.current
    row = int(graph.rows_by_id.find([memory_id])[0])
    if row < 0 or not graph.definition_rows.size:
        return detail
    ends = [("out", graph.memory_id(end)) for end in defined_by(graph, np.array([row], np.int32)).tolist()]
    ends += [("in", graph.memory_id(end)) for end in naming(graph, row).tolist()]
    shown = await asyncio.to_thread(
        recalled.shown_memories, runtime.database, frozenset(end for _, end in ends)
    )
    named = [
        Neighbour(
            kind=NAMES,
            direction=direction,
            weight=DEFINITION_WEIGHT,
            memory_id=end,
            level=Level.EPISODE.label,
            content=shown[end].content,
        )
        for direction, end in dict.fromkeys(ends)
        if end in shown
    ]
    return replace(detail, neighbours=(*detail.neighbours, *named[: recalled.NEIGHBOURS]))


async def delete_meeting(
    runtime: Runtime, meeting_id: str, *, project: str | None = None, actor: str = LOCAL
) -> Deletion:
    """Nothing of the meeting is left in the truth, the index, the graph, its snapshot or the cache; raises `NotFound`.

    If a `project` is given, only a meeting of it is found. What the index and the database's log cannot let go of now
    (one is away, the other is being read), goes soon.
    """
    async with runtime.exclusive(meeting_id):
        deletion = await meetings.delete_meeting(runtime.database, meeting_id, project=project, actor=actor)
        await runtime.forget_deleted()
    return deletion


async def list_audit(runtime: Runtime, *, limit: int = 50, before: int | None = None) -> AuditPage:
    """Entries of the audit, the latest first, from before the entry `before` on.

    Keys are made and revoked in a file of their own; what was done there and is not told yet, is told now.
    """
    await note_keys(runtime)
    return await page_of_audit(runtime.database, limit=limit, before=before)


async def note_keys(runtime: Runtime) -> None:
    """The audit tells of every key that was made, and that was revoked, when that was."""
    keys = await asyncio.to_thread(read_keys, keys_path(runtime.settings))
    acts = [(key.created_at, "create_key", key.key_id) for key in keys]
    acts += [(key.revoked_at, "revoke_key", key.key_id) for key in keys if key.revoked_at is not None]
    if not acts:
        return

    def note(connection: sqlite3.Connection) -> None:
        for at, action, key_id in sorted(acts):
            add_entry_once(connection, at=at, action=action, subject=key_id)

    await runtime.database.write(note)


async def doctor(runtime: Runtime, *, repair: bool) -> Diagnosis:
    """The three stores are compared, memory by memory; with `repair`, index and graph are made to agree.

    The database itself is checked too, and cannot be mended here.
    """
    damage = [
        f"the database is damaged ({line}): restore a backup" for line in await runtime.database.damage()
    ]
    truth, index, problems = await compare_index(runtime.database, runtime.index)
    if debt := await runtime.outbox.owed():
        problems.append(f"the vector index is owed {debt} writes")
    graph = _graph_counts(runtime)
    if graph != truth:
        problems.append(f"the graph holds {graph}, the truth {truth}")
    repaired: tuple[str, ...] = ()
    if repair and problems:
        after = await rebuild(runtime)
        repaired, index, graph = tuple(problems), dict(after.index), dict(after.graph)
    return Diagnosis(truth=truth, index=index, graph=graph, problems=(*damage, *problems), repaired=repaired)


async def compare_index(
    database: Database, index: VectorIndex
) -> tuple[dict[str, int], dict[str, int], list[str]]:
    """Counts of truth and index by level, and how they differ, memory by memory."""
    problems: list[str] = []
    truth: dict[str, int] = {}
    held: dict[str, int] = {}
    for level in Level:
        rows = await database.rows(queries.memory_ids_of_level, level=int(level))
        stored = {row["memory_id"] for row in rows}
        indexed = await index.ids(level)
        truth[level.label], held[level.label] = len(stored), len(indexed)
        if missing := len(stored - indexed):
            problems.append(f"{missing} memories of {level.label} are missing in the vector index")
        if foreign := len(indexed - stored):
            problems.append(f"{foreign} memories of {level.label} are in the vector index only")
    return truth, held, problems


async def rebuild(runtime: Runtime) -> Diagnosis:
    """Index and graph are built anew from the truth alone, without the model.

    Raises `VectorStoreUnavailable`, with the rest still owed.
    """
    await runtime.live.reload()
    await runtime.rebuild_index()
    diagnosis = await doctor(runtime, repair=False)
    await runtime.database.write(
        add_entry, actor=LOCAL, action="rebuild", subject="", details=diagnosis.index
    )
    return diagnosis


def _graph_counts(runtime: Runtime) -> dict[str, int]:
    counts = runtime.live.current.counts
    return {"L0": counts["concepts"], "L1": counts["contexts"], "L2": counts["episodes"]}
