"""Moving the vector index from the embedded engine to a Qdrant server, and back.

The truth stays where it is. The index at the new place is filled from it, compared with it, and asked the same
questions as the one at the old place; only then is the old one emptied, and the store notes where its index is. So a
move that is killed or fails has changed nothing for a service that goes on as before, and can be begun again.
"""

from __future__ import annotations

import asyncio
import dataclasses
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Final

from cofio.cache import AnswerCache
from cofio.data_dir import DATABASE_NAME, backup_dir, held
from cofio.errors import InvalidInput, VectorStoreUnavailable
from cofio.maintain import compare_index
from cofio.query import recall
from cofio.records import Answer, Filters, Level, Question
from cofio.runtime import Runtime, index_place, open_index
from cofio.settings import Settings
from cofio.store.audit import LOCAL, add_entry
from cofio.store.breaker import Breaker
from cofio.store.database import INDEX_PLACE, Database, queries
from cofio.store.outbox import fill
from cofio.store.recalled import shown_memories
from cofio.store.vectors import VectorIndex

# So many utterances, evenly over the store, are asked for: each alone, and once more with filters that it passes.
SAMPLED: Final = 20
LONGEST_QUESTION: Final = 1000
# The answers of two large indexes differ by what their graphs of neighbours miss, at most so much (docs/benchmarks.md).
SHARED: Final = 0.98


@dataclass(frozen=True, slots=True, kw_only=True)
class Move:
    """What a move found. It took place if there are no `problems`; else everything is as it was before.

    `memories` counts the new index by level. Of the `questions` asked before and after, `same` named the same memories;
    of all the `named` memories, `shared` were named both times. `asked_before` is false where the old index did not
    answer: then the graph's own vectors were asked, and the old index is not `emptied`.
    """

    place: str
    memories: Mapping[str, int]
    questions: int
    same: int
    named: int
    shared: int
    asked_before: bool
    emptied: bool
    problems: tuple[str, ...]


async def present_place(settings: Settings) -> str | None:
    """Where the store's index is by its own note, None if it has none; raises `StoreInUse`."""
    with held(settings.data_dir):
        database = await Database.open(settings.data_dir / DATABASE_NAME, backup_dir(settings))
        try:
            return await database.fact(INDEX_PLACE)
        finally:
            await database.aclose()


async def move_index(
    runtime: Runtime, target: Settings, told: Callable[[int, int], None], *, replace: bool = False
) -> Move:
    """The index is where `target` says, verified, if the move has no problems.

    `runtime` is open on the old place, and nobody else writes to the store. `told` hears how many memories of how many
    the new index holds. Raises `VectorStoreUnavailable` where the new place does not answer, and `InvalidInput` where it
    is the old one, or holds another store's memories and they are not to be `replace`d.
    """
    place = index_place(target)
    if place == index_place(runtime.settings):
        raise InvalidInput(f"The vector index is at {place} already. `cofio doctor` compares it.")
    questions = await _questions(runtime.database)
    before = [await recall(runtime, question) for question in questions]
    index = await open_index(target)
    try:
        if not replace:
            await _check_whose(runtime.database, index, place)
        stored = await runtime.database.counts()
        total = sum(stored[level.label.lower()] for level in Level)
        held_now = 0

        def count(memories: int) -> None:
            nonlocal held_now
            held_now += memories
            told(held_now, total)

        await fill(runtime.database, index, count)
        moved = dataclasses.replace(
            runtime,
            settings=target,
            index=index,
            breaker=Breaker(),
            cache=AnswerCache(entries=1, max_bytes=1, ttl_s=1),
        )
        after = [await recall(moved, question) for question in questions]
        if any(answer.degraded for answer in after):
            raise VectorStoreUnavailable(f"The vector index at {place} was filled, but answers too slowly.")
        found = _compared(place, before, after, *await compare_index(runtime.database, index))
        if found.problems:
            return found
        emptied = await _emptied(runtime.index)
        await runtime.database.write(_note, place, found.memories)
        return dataclasses.replace(found, emptied=emptied)
    finally:
        await index.aclose()


async def _check_whose(database: Database, index: VectorIndex, place: str) -> None:
    """Raises `InvalidInput` where most of what the index holds is of another store, which would lose it."""
    await index.ready()
    ours = others = 0
    for level in Level:
        rows = await database.rows(queries.memory_ids_of_level, level=int(level))
        there = await index.ids(level)
        known = len(there.intersection(row["memory_id"] for row in rows))
        ours, others = ours + known, others + len(there) - known
    if others > ours:
        raise InvalidInput(
            f"The vector index at {place} holds {others:,} memories that this store does not know: it is another store's. "
            "Name another server, or say --replace to empty it. Nothing was changed.",
            field="url",
        )


def _note(connection: sqlite3.Connection, place: str, memories: Mapping[str, int]) -> None:
    """The store notes where its index is, and the audit that it was moved."""
    queries.set_fact(connection, name=INDEX_PLACE, value=place)
    add_entry(connection, actor=LOCAL, action="move-index", subject=place, details=memories)


async def _questions(database: Database) -> list[Question]:
    """What some utterances said, as questions: to everything, and to their own meeting, speaker and day."""
    rows = await database.rows(queries.memory_ids_of_level, level=int(Level.EPISODE))
    ids = sorted(row["memory_id"] for row in rows)
    chosen = ids[:: max(1, len(ids) // SAMPLED)][:SAMPLED]
    memories = await asyncio.to_thread(shown_memories, database, chosen)
    questions = []
    for memory in memories.values():
        text, known = memory.content[:LONGEST_QUESTION], memory.metadata
        day = date.fromisoformat(known.date) if known.date else None
        own = Filters(
            meeting_id=(known.meeting_id,) if known.meeting_id else (),
            speaker=(known.speaker,) if known.speaker else (),
            date_from=day,
            date_to=day,
        )
        questions += [Question(query=text), Question(query=text, filters=own)]
    return questions


def _compared(
    place: str,
    before: Sequence[Answer],
    after: Sequence[Answer],
    truth: Mapping[str, int],
    memories: Mapping[str, int],
    differences: Sequence[str],
) -> Move:
    pairs = [(_named(old), _named(new)) for old, new in zip(before, after, strict=True)]
    named = sum(len(old | new) for old, new in pairs)
    shared = sum(len(old & new) for old, new in pairs)
    problems = list(differences)
    if shared < SHARED * named:
        problems.append(
            f"of the {named} memories that {len(pairs)} questions named, {shared} were named before and after"
        )
    return Move(
        place=place,
        memories=memories,
        questions=len(pairs),
        same=sum(old == new for old, new in pairs),
        named=named,
        shared=shared,
        asked_before=not any(answer.degraded for answer in before),
        emptied=False,
        problems=tuple(problems),
    )


def _named(answer: Answer) -> frozenset[str]:
    direct = (memory for memories in answer.direct_results.values() for memory in memories)
    return frozenset(
        memory.memory_id for memory in (*direct, *answer.activated_memories, *answer.bridge_memories)
    )


async def _emptied(index: VectorIndex) -> bool:
    try:
        await index.clear()
    except VectorStoreUnavailable:
        return False
    return True
