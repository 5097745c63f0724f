"""Whether a store holds what it must after a kill: the truth read by its own connection, the rest asked of it."""

from __future__ import annotations

import asyncio
import hashlib
import random
import sqlite3
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import numpy as np
import orjson

from cofio.cache import AnswerCache
from cofio.livegraph import LiveGraph
from cofio.maintain import doctor
from cofio.memories import concept_id
from cofio.query import recall
from cofio.records import Answer, ConceptKind, Filters, Float32s, Level, Question
from cofio.runtime import Runtime
from cofio.text.concepts import promoted
from drills.meetings import ABSENT, edition_word, external_id, word

OWN_EDGES: Final = ("next", "part_of", "spoken_by")  # what no other meeting changes
SCORE_TOLERANCE: Final = 1e-4


@dataclass(frozen=True, slots=True, kw_only=True)
class Reference:
    """An edition as a store that nobody killed holds it: a digest of its memories, and its own edges by kind."""

    digest: str
    edges: Mapping[str, int]


References = Mapping[int, Mapping[int, Reference]]  # by meeting number and edition


def stored(connection: sqlite3.Connection, number: int) -> Reference | None:
    """The meeting as the database holds it, None if there is no such meeting."""
    row = connection.execute(
        "SELECT id FROM meetings WHERE external_id = ?", (external_id(number),)
    ).fetchone()
    if row is None:
        return None
    digest = hashlib.sha256()
    for memory in connection.execute(
        "SELECT memory_id, level, position, memory_type, content, speaker, vector FROM memories WHERE meeting = ? "
        "ORDER BY level, position, memory_id",
        row,
    ):
        digest.update(repr(memory).encode())
    edges = connection.execute(
        "SELECT e.kind, count(*) FROM edges e JOIN memories m ON m.id = e.source WHERE m.meeting = ? "
        f"AND e.kind IN {OWN_EDGES} GROUP BY e.kind",
        row,
    )
    return Reference(digest=digest.hexdigest(), edges=dict(edges.fetchall()))


def check_truth(path: Path, references: References) -> tuple[Mapping[int, int], list[str]]:
    """Which edition of each meeting the database holds, and what is wrong with it."""
    connection = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
    try:
        connection.execute("BEGIN")
        problems = [
            f"integrity_check: {row[0]}"
            for row in connection.execute("PRAGMA integrity_check")
            if row[0] != "ok"
        ]
        problems += [
            f"a foreign key dangles: {tuple(row)}" for row in connection.execute("PRAGMA foreign_key_check")
        ]
        problems += _duplicates(connection)
        observed: dict[int, int] = {}
        for number, editions in references.items():
            found = stored(connection, number)
            whole = [edition for edition, reference in editions.items() if reference == found]
            if whole or found is None:
                observed[number] = whole[0] if whole else ABSENT
            else:
                problems.append(f"meeting {number} is there in part")
        problems += _concept_problems(connection)
        return observed, problems
    finally:
        connection.close()


async def check_agreement(
    runtime: Runtime, observed: Mapping[int, int], rng: random.Random, *, samples: int
) -> list[str]:
    """What index and graph hold otherwise than the truth, and which questions are answered wrong."""
    problems = list((await doctor(runtime, repair=False)).problems)
    problems += await _index_problems(runtime, rng, samples)
    fresh = await LiveGraph.open(runtime.database, runtime.settings.data_dir / "none.npz", runtime.turns)
    if _living(fresh) != _living(runtime.live):
        problems.append(f"the graph holds {_living(runtime.live)}, made anew {_living(fresh)}")
    anew = replace(runtime, live=fresh, cache=_no_cache())
    as_is = replace(runtime, cache=_no_cache())
    numbers = sorted(observed)
    for number in rng.sample(numbers, min(samples // 4, len(numbers))):
        asked = word(number) if observed[number] == ABSENT else edition_word(number, observed[number])
        question = Question(query=f"What about {asked}?", limit_per_level=3)
        answer = await recall(as_is, question)
        problems += check_answer(answer, number, observed[number])
        if told(await recall(anew, question)) != told(answer):
            problems.append(f"the graph answers for meeting {number} otherwise than one made anew")
    return problems


def check_answer(answer: Answer, number: int, edition: int) -> Iterator[str]:
    """A stored meeting's own word finds it first; a word that nobody stored is in no answer."""
    texts = [memory.content for memories in answer.direct_results.values() for memory in memories]
    texts += [memory.content for memory in (*answer.activated_memories, *answer.bridge_memories)]
    if edition == ABSENT:
        if any(word(number) in text for text in texts):
            yield f"meeting {number} is deleted, but is answered with"
    else:
        said = edition_word(number, edition)
        first = next(iter(answer.direct_results["L2"]), None)
        if first is None or said not in first.content:
            yield f"meeting {number} is not found by its own word"
        if any(
            edition_word(number, other) in text for other in (1, 2, 3) if other != edition for text in texts
        ):
            yield f"meeting {number} is answered with what it said before"


async def _index_problems(runtime: Runtime, rng: random.Random, samples: int) -> Iterator[str]:
    """The sampled memories have in the index the vector and the meetings that they have in the truth."""
    rows = await asyncio.to_thread(_points, runtime.database.path)
    problems = []
    for level, memory_id, vector, meeting_id in rng.sample(rows, min(samples, len(rows))):
        steered = np.array(vector)
        steered[384:] = [rng.random() for _ in range(16)]
        filters = Filters(meeting_id=(meeting_id,)) if meeting_id else Filters()
        found = (await runtime.index.search(steered, {level: 5}, filters))[level]
        score = next((hit.score for hit in found if hit.memory_id == memory_id), None)
        exact = float(steered @ vector)
        if score is None and (len(found) < 5 or found[-1].score < exact - SCORE_TOLERANCE):
            problems.append(f"a memory of {level.label} is not found in the index under its meeting")
        elif score is not None and abs(score - exact) > SCORE_TOLERANCE:
            problems.append(
                f"a memory of {level.label} has another vector in the index ({score} for {exact})"
            )
    return iter(problems)


def _points(path: Path) -> list[tuple[Level, str, Float32s, str | None]]:
    connection = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
    try:
        rows = connection.execute(
            "SELECT m.level, m.memory_id, m.vector, g.meeting_id FROM memories m "
            "LEFT JOIN meetings g ON g.id = m.meeting ORDER BY m.memory_id"
        )
        return [
            (Level(level), memory_id, np.frombuffer(vector, "<f4"), meeting_id)
            for level, memory_id, vector, meeting_id in rows
        ]
    finally:
        connection.close()


def _duplicates(connection: sqlite3.Connection) -> Iterator[str]:
    doubled = connection.execute(
        "SELECT external_id, count(*) FROM meetings GROUP BY external_id HAVING count(*) > 1"
    )
    yield from (f"{name} is stored {count} times" for name, count in doubled)
    orphans = connection.execute(
        "SELECT count(*) FROM memories WHERE level > 0 AND meeting NOT IN (SELECT id FROM meetings)"
    ).fetchone()[0]
    if orphans:
        yield f"{orphans} memories belong to no meeting"


def _concept_problems(connection: sqlite3.Connection) -> Iterator[str]:
    """Concepts are exactly what the stored mentions make."""
    mentions: dict[str, list[tuple[str, int, frozenset[int], int]]] = {}
    for project, key, meeting, kind, contexts, episodes in connection.execute(
        "SELECT project, concept_key, meeting, kind, contexts, episodes FROM mentions"
    ):
        share = (kind, meeting, frozenset(orjson.loads(episodes)), contexts)
        mentions.setdefault(concept_id(project, key), []).append(share)
    linked: dict[str, set[tuple[int, int]]] = {}
    for memory_id, meeting, position in connection.execute(
        "SELECT c.memory_id, s.meeting, s.position FROM edges e JOIN memories c ON c.id = e.target "
        "JOIN memories s ON s.id = e.source WHERE e.kind IN ('mentions', 'spoken_by')"
    ):
        linked.setdefault(memory_id, set()).add((meeting, position))
    concepts = {
        memory_id: orjson.loads(details)
        for memory_id, details in connection.execute(
            "SELECT memory_id, details FROM memories WHERE level = 0"
        )
    }
    wrong: Counter[str] = Counter()
    for memory_id, shares in mentions.items():
        said = sum(len(episodes) for _, _, episodes, _ in shares)
        due = promoted(len(shares), max(c for *_, c in shares), said, ConceptKind(shares[0][0]))
        if due != (memory_id in concepts):
            wrong["missing" if due else "there without need"] += 1
        elif due:
            wrong["counted wrong"] += concepts[memory_id]["mentions"] != said
            edges = {(meeting, position) for _, meeting, episodes, _ in shares for position in episodes}
            wrong["linked otherwise than mentioned"] += linked.get(memory_id, set()) != edges
    wrong["mentioned by nobody"] += len(concepts.keys() - mentions.keys())
    yield from (f"{count} concepts are {what}" for what, count in wrong.items() if count)


def told(answer: Answer) -> object:
    """What an answer says, with scores that may differ in the last digits."""
    direct = {
        level: [(memory.memory_id, memory.content, round(memory.score, 4)) for memory in memories]
        for level, memories in answer.direct_results.items()
    }
    return direct, {memory.memory_id for memory in answer.bridge_memories}


def _no_cache() -> AnswerCache:
    return AnswerCache(entries=1, max_bytes=1024, ttl_s=1.0)


def _living(live: LiveGraph) -> Mapping[str, int]:
    return {what: count for what, count in live.current.counts.items() if what != "dead"}
