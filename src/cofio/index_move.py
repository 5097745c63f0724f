"""Moving the vector index from the embedded engine to a Qdrant server, and back.

The truth stays where it is. The index at the new place is filled from it, compared with it, and asked for what is nearest
to the same questions as the one at the old place; only then is the old one emptied, and the store notes where its index is. So a
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

import numpy as np

from cofio.data_dir import DATABASE_NAME, backup_dir, held
from cofio.errors import InvalidInput, VectorStoreUnavailable
from cofio.graph import kernels
from cofio.graph.best import best
from cofio.graph.csr import MemoryGraph
from cofio.graph.nearest import nearest_nodes
from cofio.graph.scope import scope
from cofio.maintain import compare_index
from cofio.records import SEMANTIC_DIMENSIONS, VECTOR_DIMENSIONS, Filters, Float32s, Level
from cofio.runtime import Runtime, index_place, open_index
from cofio.settings import Settings
from cofio.store.audit import LOCAL, add_entry
from cofio.store.breaker import Breaker
from cofio.store.database import INDEX_PLACE, Database, queries
from cofio.store.outbox import fill
from cofio.store.pseudonyms import in_pseudonyms
from cofio.store.recalled import shown_memories
from cofio.store.vectors import VectorIndex

# So many utterances, evenly over the store, are asked for: each alone, and once more with filters that it passes.
SAMPLED: Final = 20
NEAREST: Final = 10  # of each level
# Each of two large indexes misses some of what is nearest, up to two in a hundred (docs/benchmarks.md), so that their lists of
# ten share .96; two with other vectors, or other filters, share little.
SHARED: Final = 0.9


@dataclass(frozen=True, slots=True, kw_only=True)
class Move:
    """What a move found. It took place if there are no `problems`; else everything is as it was before.

    `memories` counts the new index by level. Of the `questions` asked of both indexes, `same` named the same memories;
    of all the `named` memories, `shared` were named both times. `asked_before` is false where the old index did not
    answer in time: then the graph's own vectors were compared. The old one is not `emptied` if it does not answer in the end.
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


@dataclass(frozen=True, slots=True, kw_only=True)
class _Asked:
    """A question of which both indexes find what is nearest."""

    vector: Float32s  # (400,)
    filters: Filters

    @property
    def limits(self) -> Mapping[Level, int]:
        # Concepts belong to no meeting in an index, and contexts to no speaker.
        return dict.fromkeys((Level.EPISODE,) if self.filters.narrow else Level, NEAREST)


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
    the new index holds. Raises `VectorStoreUnavailable` where the new place does not answer, `EncoderUnavailable`, and
    `InvalidInput` where it is the old one, or holds another store's memories and they are not to be `replace`d.
    """
    place = index_place(target)
    if place == index_place(runtime.settings):
        raise InvalidInput(f"The vector index is at {place} already. `cofio doctor` compares it.")
    questions = await _questions(runtime)
    asked_before = True
    try:
        before = await _found(runtime.index, runtime.breaker, runtime.settings.vector_timeout_s, questions)
    except VectorStoreUnavailable:
        asked_before = False
        before = await asyncio.to_thread(_compared_in_graph, runtime.live.current, questions)
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
        after = await _found(index, Breaker(), target.max_search_wait_s, questions)
        _, memories, differences = await compare_index(runtime.database, index)
        move = _move(place, memories, before, after, differences, asked_before=asked_before)
        if move.problems:
            return move
        emptied = await _emptied(runtime.index)
        await runtime.database.write(_note, place, move.memories)
        return dataclasses.replace(move, emptied=emptied)
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


async def _questions(runtime: Runtime) -> list[_Asked]:
    """What some utterances said, as questions: to everything, and to their own meeting, speaker and day."""
    rows = await runtime.database.rows(queries.memory_ids_of_level, level=int(Level.EPISODE))
    ids = sorted(row["memory_id"] for row in rows)
    chosen = ids[:: max(1, len(ids) // SAMPLED)][:SAMPLED]
    memories = list((await asyncio.to_thread(shown_memories, runtime.database, set(chosen))).values())
    if not memories:
        return []
    vectors = np.zeros((len(memories), VECTOR_DIMENSIONS), np.float32)
    vectors[:, :SEMANTIC_DIMENSIONS] = await runtime.batcher.encode(
        [memory.content for memory in memories], urgent=False
    )
    questions = []
    for memory, vector in zip(memories, vectors, strict=True):
        known = memory.metadata
        day = date.fromisoformat(known.date) if known.date else None
        own = Filters(
            meeting_id=(known.meeting_id,) if known.meeting_id else (),
            speaker=(known.speaker,) if known.speaker else (),
            date_from=day,
            date_to=day,
        )
        questions += [_Asked(vector=vector, filters=Filters()), _Asked(vector=vector, filters=own)]
    return questions


async def _found(
    index: VectorIndex, breaker: Breaker, wait_s: float, questions: Sequence[_Asked]
) -> list[frozenset[str]]:
    """The ids that an index finds nearest to each question, each within `wait_s`; raises `VectorStoreUnavailable`."""
    found = []
    for asked in questions:
        async with breaker.calling(wait_s):
            hits = await index.search(asked.vector, asked.limits, in_pseudonyms(asked.filters))
        found.append(frozenset(hit.memory_id for of_level in hits.values() for hit in of_level))
    return found


def _compared_in_graph(graph: MemoryGraph, questions: Sequence[_Asked]) -> list[frozenset[str]]:
    """The ids that are nearest to each question by the graph's own vectors, of episodes by all of them."""
    found = []
    for asked in questions:
        bounds, limits = scope(graph, asked.filters), dict(asked.limits)
        rows = np.arange(graph.episodes, dtype=np.int32)
        rows = rows[bounds.passes(graph, rows)]
        scores = np.empty(rows.size, np.float32)
        kernels.dots_of_rows(asked.vector, graph.vectors, rows, scores)
        nodes = rows[best(graph, rows, scores, limits.pop(Level.EPISODE))].tolist()
        for others, _ in nearest_nodes(graph, bounds, asked.vector, limits).values():
            nodes += others.tolist()
        found.append(frozenset(graph.memory_ids(nodes).values()))
    return found


def _move(
    place: str,
    memories: Mapping[str, int],
    before: Sequence[frozenset[str]],
    after: Sequence[frozenset[str]],
    differences: Sequence[str],
    *,
    asked_before: bool,
) -> Move:
    pairs = list(zip(before, after, strict=True))
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
        asked_before=asked_before,
        emptied=False,
        problems=tuple(problems),
    )


async def _emptied(index: VectorIndex) -> bool:
    try:
        await index.clear()
    except VectorStoreUnavailable:
        return False
    return True
