"""Concepts in the truth: the sum of what meetings mention, kept exact as meetings come and go."""

from __future__ import annotations

import asyncio
import itertools
import sqlite3
from collections.abc import Collection, Sequence

import aiosqlite
import numpy as np
import orjson
from numpy.typing import NDArray

from cofio.memories import concept_id
from cofio.records import SEMANTIC_DIMENSIONS, ConceptKind, EdgeKind, Float32s, Level, MemoryType
from cofio.store.database import queries
from cofio.text.concepts import promoted
from cofio.text.terms import count_words


async def refresh_concepts(
    connection: aiosqlite.Connection, *, project: str, keys: Collection[str], meeting: int
) -> tuple[str, ...]:
    """The project's concepts of these keys are what the stored mentions say; returns their memory ids.

    Runs inside the transaction that wrote or deleted `meeting` (row id). A concept that is mentioned too little
    is removed with its edges; one that exists is rewritten, and linked to every episode that mentions it.
    What the vector index is owed goes to the outbox.
    """
    if not keys:
        return ()
    listed = orjson.dumps(sorted(keys)).decode()
    await queries.delete_orphaned_answers(connection, project=project, keys=listed)
    rows = [row async for row in queries.mentions_of_keys(connection, project=project, keys=listed)]
    by_key = {
        key: list(group) for key, group in itertools.groupby(rows, key=lambda row: str(row["concept_key"]))
    }
    ids = {key: concept_id(project, key) for key in sorted(keys)}
    listed_ids = orjson.dumps(list(ids.values())).decode()
    existing = {
        str(row["memory_id"]) async for row in queries.memory_rowids(connection, memory_ids=listed_ids)
    }
    kept = {key: group for key, group in by_key.items() if _is_concept(group)}
    gone = [{"memory_id": ids[key]} for key in ids.keys() - kept.keys() if ids[key] in existing]
    await queries.delete_memories(connection, gone)
    # A speaker of a thousand meetings sums a thousand vectors: not on the event loop.
    concepts = await asyncio.to_thread(
        lambda: [_concept_row(project, ids[key], kept[key]) for key in sorted(kept)]
    )
    await queries.save_memories(connection, concepts)
    await queries.unlink_definitions(connection, [{"concept_id": ids[key]} for key in sorted(kept)])
    links = [
        link
        for key in sorted(kept)
        for link in _links(ids[key], kept[key], None if ids[key] not in existing else meeting)
    ]
    await queries.link_concept(connection, links)
    mentioned = [link for link in links if link["kind"] != EdgeKind.DEFINES.value]
    await queries.note_concept_meetings(connection, mentioned)
    await queries.owe(
        connection,
        [
            {
                "level": int(Level.CONCEPT),
                "memory_id": ids[key],
                "operation": "upsert" if key in kept else "delete",
            }
            for key in ids
            if key in kept or ids[key] in existing
        ],
    )
    return tuple(ids[key] for key in ids if key in kept or ids[key] in existing)


def _is_concept(mentions: Sequence[sqlite3.Row]) -> bool:
    kind = ConceptKind(mentions[0]["kind"])
    if kind in (ConceptKind.PERSON, ConceptKind.TITLE, ConceptKind.QUESTION):
        return True
    episodes = sum(len(orjson.loads(row["episodes"])) for row in mentions)
    contexts = max(int(row["contexts"]) for row in mentions)
    return promoted(len(mentions), contexts, episodes, kind)


def _concept_row(project: str, memory_id: str, mentions: Sequence[sqlite3.Row]) -> dict[str, object]:
    kind = _kind(mentions)
    label = _label(mentions, kind)
    count = sum(len(orjson.loads(row["episodes"])) for row in mentions)
    dates = [row["date"] for row in mentions if row["date"]]
    definition = _definition(mentions)
    details = {
        "concept_kind": kind.value,
        "label": label,
        "mentions": count,
        "meetings": len(mentions),
        "first_date": min(dates, default=None),
        "last_date": max(dates, default=None),
        "defined_by": definition["definition_id"] if definition is not None else None,
    }
    content = _content(kind, label, len(mentions), count, definition)
    return {
        "memory_id": memory_id,
        "level": int(Level.CONCEPT),
        "project": project,
        "meeting": None,
        "position": None,
        "memory_type": (MemoryType.QUESTION if kind is ConceptKind.QUESTION else MemoryType.CONTEXT).value,
        "content": content,
        "words": count_words(content),
        "speaker": None,
        "start_s": None,
        "end_s": None,
        "pure_question": False,
        "details": orjson.dumps(details).decode(),
        "vector": _centroid(mentions, count).astype("<f4").tobytes(),
    }


def _kind(mentions: Sequence[sqlite3.Row]) -> ConceptKind:
    """A thing that one meeting writes as a name is an entity, even if another only knows it as a term."""
    kinds = {ConceptKind(row["kind"]) for row in mentions}
    return next(kind for kind in ConceptKind if kind in kinds)


def _label(mentions: Sequence[sqlite3.Row], kind: ConceptKind) -> str:
    written = [row for row in mentions if row["kind"] == kind.value]
    return str(max(written, key=lambda row: (row["salience"], -row["meeting"]))["label"])


def _definition(mentions: Sequence[sqlite3.Row]) -> sqlite3.Row | None:
    """The first mention of at least ten words that explains the thing: best of five rules (lab 2 §1)."""
    defined = [row for row in mentions if row["definition_id"] is not None]
    long_enough = [row for row in defined if row["definition_words"] >= 10]
    return next(iter(long_enough or defined), None)


def _content(kind: ConceptKind, label: str, meetings: int, count: int, definition: sqlite3.Row | None) -> str:
    if kind is ConceptKind.PERSON:
        return f"{label}: {count} utterances in {meetings} meeting{'s' if meetings != 1 else ''}"
    if definition is None:
        return label
    if kind is ConceptKind.QUESTION:
        return str(definition["definition_text"])
    speaker = f"{definition['definition_speaker']}: " if definition["definition_speaker"] else ""
    return f"{label} – {speaker}{definition['definition_text']}"


def _centroid(mentions: Sequence[sqlite3.Row], count: int) -> Float32s:
    shares = np.stack([np.frombuffer(row["vector_sum"], "<f4") for row in mentions])
    total: NDArray[np.float64] = np.add.reduce(shares, axis=0, dtype=np.float64)
    norm = float(np.linalg.norm(total[:SEMANTIC_DIMENSIONS]))
    total[:SEMANTIC_DIMENSIONS] /= norm if norm > 1e-9 else 1.0
    total[SEMANTIC_DIMENSIONS:] = np.clip(total[SEMANTIC_DIMENSIONS:] / max(count, 1), 0.0, 1.0)
    return total.astype(np.float32)


def _links(
    memory_id: str, mentions: Sequence[sqlite3.Row], only_meeting: int | None
) -> list[dict[str, object]]:
    """The edges of a concept: from every mention if it is new, else from those of the meeting just written."""
    definition = _definition(mentions)
    links = []
    for row in mentions:
        if only_meeting is None or row["meeting"] == only_meeting:
            kind = EdgeKind.SPOKEN_BY if row["kind"] == ConceptKind.PERSON.value else EdgeKind.MENTIONS
            links.append(_link(memory_id, row, kind, row["episodes"], float(row["salience"])))
        if definition is not None and row["meeting"] == definition["meeting"]:
            at = orjson.dumps([row["definition"]]).decode()
            links.append(_link(memory_id, row, EdgeKind.DEFINES, at, 1.0))
    return links


def _link(
    memory_id: str, row: sqlite3.Row, kind: EdgeKind, positions: str, weight: float
) -> dict[str, object]:
    return {
        "concept_id": memory_id,
        "meeting": row["meeting"],
        "kind": kind.value,
        "positions": positions,
        "weight": weight,
    }
