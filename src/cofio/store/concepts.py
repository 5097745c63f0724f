"""Concepts in the truth: the sum of what meetings mention, kept exact as meetings come and go."""

from __future__ import annotations

import itertools
import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import orjson

from cofio.memories import concept_id
from cofio.records import ConceptKind, EdgeKind, Level
from cofio.store.concept_sums import ConceptSum, Definition, share, stored_sum, total
from cofio.store.database import queries
from cofio.text.concepts import promoted
from cofio.text.terms import count_words


def refresh_concepts(
    connection: sqlite3.Connection, *, project: str, keys: Iterable[str], meeting: int, only_added: bool
) -> tuple[str, ...]:
    """The project's concepts of these keys are what the stored mentions say; returns their memory ids.

    Runs inside the transaction that wrote or deleted `meeting` (row id). `only_added` says that it took no mention
    away: then its own are added to what is summed already, and those of other meetings stay unread. A concept that
    is mentioned too little is removed with its edges; one that exists is rewritten, and linked to every episode that
    mentions it. What the vector index is owed goes to the outbox.
    """
    ids = {key: concept_id(project, key) for key in sorted(keys)}
    if not ids:
        return ()
    queries.delete_orphaned_answers(connection, project=project, keys=_listed(ids))
    known = {
        str(row["memory_id"]) for row in queries.memory_rowids(connection, memory_ids=_listed(ids.values()))
    }
    sums = _stored_sums(connection, ids) if only_added else {}
    of_meeting = queries.shares_of_meeting(connection, project=project, keys=_listed(sums), meeting=meeting)
    of_all = queries.shares_of_keys(connection, project=project, keys=_listed(ids.keys() - sums.keys()))
    rows = [*of_meeting, *of_all]
    concepts = _concepts(ids, sums, rows)
    gone = [memory_id for key, memory_id in ids.items() if key not in concepts and memory_id in known]
    queries.delete_memories(connection, [{"memory_id": memory_id} for memory_id in gone])
    queries.save_memories(connection, [concept.memory_row(project) for concept in concepts.values()])
    queries.save_concept_sums(
        connection, [concept.sum.row(concept.memory_id) for concept in concepts.values()]
    )
    queries.unlink_definitions(
        connection,
        [{"concept_id": concept.memory_id} for concept in concepts.values() if concept.redefined],
    )
    links = [
        link
        for concept in concepts.values()
        for link in concept.links(None if concept.memory_id not in known else meeting)
    ]
    queries.link_concept(connection, links)
    kept = [concept.memory_id for concept in concepts.values()]
    queries.owe(
        connection,
        [
            {"level": int(Level.CONCEPT), "memory_id": memory_id, "operation": operation}
            for operation, owed in (("upsert", kept), ("delete", gone))
            for memory_id in owed
        ],
    )
    return (*kept, *gone)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Concept:
    """A concept as it is now, and those of its mentions that were read: rows of `concept_shares`."""

    memory_id: str
    sum: ConceptSum
    redefined: bool
    mentions: Sequence[sqlite3.Row]

    def memory_row(self, project: str) -> dict[str, object]:
        """The columns of `memories`."""
        sum_ = self.sum
        details = {
            "concept_kind": sum_.kind.value,
            "label": sum_.label,
            "mentions": sum_.episodes,
            "meetings": sum_.meetings,
            "first_date": sum_.first_date,
            "last_date": sum_.last_date,
            "defined_by": sum_.definition.memory_id if sum_.definition is not None else None,
        }
        content = _content(sum_)
        return {
            "memory_id": self.memory_id,
            "level": int(Level.CONCEPT),
            "project": project,
            "meeting": None,
            "position": None,
            "memory_type": sum_.kind.memory_type.value,
            "content": content,
            "words": count_words(content),
            "speaker": None,
            "start_s": None,
            "end_s": None,
            "pure_question": False,
            "details": orjson.dumps(details).decode(),
            "vector": sum_.centroid().astype("<f4").tobytes(),
        }

    def links(self, only_meeting: int | None) -> list[dict[str, object]]:
        """The edges from the mentions that were read, of one meeting or all, and from a definition that is new."""
        links = []
        for row in self.mentions:
            if only_meeting is None or row["meeting"] == only_meeting:
                kind = EdgeKind.SPOKEN_BY if row["kind"] == ConceptKind.PERSON.value else EdgeKind.MENTIONS
                links.append(self._link(row["meeting"], kind, row["episodes"], float(row["salience"])))
        defined = self.sum.definition
        if self.redefined and defined is not None:
            at = orjson.dumps([defined.position]).decode()
            links.append(self._link(defined.meeting, EdgeKind.DEFINES, at, 1.0))
        return links

    def _link(self, meeting: int, kind: EdgeKind, positions: str, weight: float) -> dict[str, object]:
        return {
            "concept_id": self.memory_id,
            "meeting": meeting,
            "kind": kind.value,
            "positions": positions,
            "weight": weight,
        }


def _stored_sums(connection: sqlite3.Connection, ids: Mapping[str, str]) -> dict[str, ConceptSum]:
    """What is summed already, by key."""
    keys = {memory_id: key for key, memory_id in ids.items()}
    rows = queries.concept_sums(connection, memory_ids=_listed(keys))
    return {keys[row["memory_id"]]: stored_sum(row) for row in rows}


def _concepts(
    ids: Mapping[str, str], sums: Mapping[str, ConceptSum], rows: Sequence[sqlite3.Row]
) -> dict[str, _Concept]:
    """The keys that are concepts, by key: what is in `sums` and what `rows` add to it."""
    rows = sorted(rows, key=lambda row: str(row["concept_key"]))
    mentions = {
        key: list(group) for key, group in itertools.groupby(rows, key=lambda row: str(row["concept_key"]))
    }
    concepts = {}
    for key, memory_id in ids.items():
        before = sums.get(key)
        parts = [share(row) for row in mentions.get(key, ())]
        if before is not None:
            parts.append(before)
        if not parts:
            continue
        now = total(parts)
        if promoted(now.meetings, now.contexts, now.episodes, now.kind):
            concepts[key] = _Concept(
                memory_id=memory_id,
                sum=now,
                redefined=before is None or _place(before.definition) != _place(now.definition),
                mentions=mentions.get(key, ()),
            )
    return concepts


def _place(definition: Definition | None) -> tuple[int, int] | None:
    return None if definition is None else (definition.meeting, definition.position)


def _content(concept: ConceptSum) -> str:
    definition = concept.definition
    if concept.kind is ConceptKind.PERSON:
        many = "s" if concept.meetings != 1 else ""
        return f"{concept.label}: {concept.episodes} utterances in {concept.meetings} meeting{many}"
    if definition is None:
        return concept.label
    if concept.kind is ConceptKind.QUESTION:
        return definition.text
    speaker = f"{definition.speaker}: " if definition.speaker else ""
    return f"{concept.label} – {speaker}{definition.text}"


def _listed(items: Iterable[str]) -> str:
    return orjson.dumps(sorted(items)).decode()
