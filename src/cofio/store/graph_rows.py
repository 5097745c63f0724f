"""What the memory graph reads of the truth."""

from __future__ import annotations

import asyncio
import itertools
import sqlite3
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from datetime import date

import aiosqlite
import orjson

from cofio.graph.blocks import ContextRow, EpisodeRow, Lexicons, MeetingBlock, MeetingHead, build_block
from cofio.graph.csr import ConceptRow
from cofio.records import ConceptKind, MemoryType
from cofio.store.database import Database, queries


@dataclass(frozen=True, slots=True, kw_only=True)
class Changes:
    """What happened since a version: `meetings` by row id and `concepts` by memory id; None stands for all."""

    version: int
    meetings: frozenset[int] | None
    concepts: frozenset[str] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class GraphRows:
    """The state of the truth at `changes.version`, as far as it changed."""

    changes: Changes
    blocks: tuple[MeetingBlock, ...]
    concepts: tuple[ConceptRow, ...]


async def read_changes(database: Database, since: int, lexicons: Lexicons) -> GraphRows:
    """Blocks and concepts that changed after version `since`, read from one state of the truth.

    Everything is read if `since` is further back than the truth remembers. A meeting or concept that is named in
    `changes` but not returned is gone.
    """
    async with database.read() as connection:
        changes = await _changes(connection, since)
        meeting_ids = _listed(changes.meetings)
        concept_ids = _listed(changes.concepts)
        heads = [
            row
            async for row in (
                queries.all_meetings(connection)
                if meeting_ids is None
                else queries.meetings_by_rowid(connection, ids=meeting_ids)
            )
        ]
        episodes = [row async for row in queries.episodes_for_graph(connection, ids=meeting_ids)]
        contexts = [row async for row in queries.contexts_for_graph(connection, ids=meeting_ids)]
        answers = [row async for row in queries.answers_for_graph(connection, ids=meeting_ids)]
        concepts = [row async for row in queries.concepts_for_graph(connection, ids=concept_ids)]
        mentions = [row async for row in queries.concept_mentions_for_graph(connection, ids=concept_ids)]
    blocks, concept_rows = await asyncio.to_thread(
        lambda: (_blocks(heads, episodes, contexts, answers, lexicons), _concepts(concepts, mentions))
    )
    return GraphRows(changes=changes, blocks=blocks, concepts=concept_rows)


async def _changes(connection: aiosqlite.Connection, since: int) -> Changes:
    version = int(await queries.version(connection))
    rows = [row async for row in queries.changes_since(connection, version=since)]
    if since == 0 or (rows and rows[0]["version"] != since + 1):
        return Changes(version=version, meetings=None, concepts=None)
    return Changes(
        version=version,
        meetings=frozenset(int(row["meeting"]) for row in rows),
        concepts=frozenset(itertools.chain.from_iterable(orjson.loads(row["concepts"]) for row in rows)),
    )


def _listed(items: Collection[object] | None) -> str | None:
    return None if items is None else orjson.dumps(sorted(items, key=str)).decode()


def _blocks(
    heads: Sequence[sqlite3.Row],
    episodes: Sequence[sqlite3.Row],
    contexts: Sequence[sqlite3.Row],
    answers: Sequence[sqlite3.Row],
    lexicons: Lexicons,
) -> tuple[MeetingBlock, ...]:
    episodes_of, contexts_of, answers_of = (_by_meeting(rows) for rows in (episodes, contexts, answers))
    return tuple(
        build_block(
            MeetingHead(
                key=head["id"],
                meeting_id=head["meeting_id"],
                title=head["title"],
                project=head["project"],
                series=head["series"],
                document=bool(head["document"]),
                day=date.fromisoformat(head["date"]).toordinal() if head["date"] else 0,
            ),
            [
                EpisodeRow(
                    node=row["id"],
                    memory_id=row["memory_id"],
                    memory_type=MemoryType(row["memory_type"]),
                    content=row["content"],
                    words=row["words"],
                    speaker=row["speaker"],
                    pure_question=bool(row["pure_question"]),
                    vector=row["vector"],
                )
                for row in episodes_of(head["id"])
            ],
            [_context(row) for row in contexts_of(head["id"])],
            [(row["source"], row["target"], row["weight"]) for row in answers_of(head["id"])],
            lexicons,
        )
        for head in heads
    )


def _context(row: sqlite3.Row) -> ContextRow:
    details = orjson.loads(row["details"])
    return ContextRow(
        node=row["id"],
        memory_id=row["memory_id"],
        first=details["first_position"],
        last=details["last_position"] + 1,
        vector=row["vector"],
    )


def _concepts(concepts: Sequence[sqlite3.Row], mentions: Sequence[sqlite3.Row]) -> tuple[ConceptRow, ...]:
    mentions_of: dict[int, list[tuple[int, int]]] = {}
    for row in mentions:
        mentions_of.setdefault(row["target"], []).append((row["meeting"], row["position"]))
    rows = []
    for row in concepts:
        details = orjson.loads(row["details"])
        rows.append(
            ConceptRow(
                node=row["id"],
                memory_id=row["memory_id"],
                project=row["project"],
                label=details["label"],
                kind=ConceptKind(details["concept_kind"]),
                mentions=tuple(mentions_of.get(row["id"], ())),
                vector=row["vector"],
            )
        )
    return tuple(rows)


def _by_meeting(rows: Sequence[sqlite3.Row]) -> Callable[[int], list[sqlite3.Row]]:
    grouped: dict[int, list[sqlite3.Row]] = {}
    for row in rows:
        grouped.setdefault(row["meeting"], []).append(row)
    return lambda meeting: grouped.get(meeting, [])
