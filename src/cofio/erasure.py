"""Erasing a person or a project from everything that is stored, with the proof that it is gone.

What a speaker said is removed, and what was made of it: meetings are made again from what the others said, without the
model, as if the speaker had not been there. What others said about somebody is theirs and stays; it is counted.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from cofio import backups
from cofio.data_dir import backup_dir
from cofio.errors import (
    CofioError,
    MeetingsWaiting,
    NotFound,
    Overloaded,
    Unavailable,
    VectorStoreUnavailable,
)
from cofio.ingest import content_hash_of, memories_of
from cofio.query import recall
from cofio.records import (
    FEATURE_DIMENSIONS,
    SEMANTIC_DIMENSIONS,
    VECTOR_DIMENSIONS,
    Deletion,
    Filters,
    Float32s,
    Level,
    MeetingInput,
    Question,
)
from cofio.runtime import Runtime
from cofio.store import erasure
from cofio.store.audit import LOCAL, add_entry
from cofio.store.database import queries
from cofio.store.erasure import StillNamed, WaitingMeeting
from cofio.store.meetings import KeptMeeting, delete_meeting, kept_meeting, save_what_is_left
from cofio.store.pseudonyms import in_pseudonyms, pseudonym
from cofio.telemetry.stages import Stages
from cofio.text.clean import clean_text, plain_text
from cofio.text.parse import parse_transcript

# Whoever erases waits so long for the index's files to be rid of it; more is done behind the answer.
PURGE_WAIT_S: Final = 30.0
# So many of the removed memories are looked for by their vectors.
SAMPLED: Final = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class Proof:
    """What was found when all that was erased was looked for again: zeros.

    `database` counts rows, `graph` and `index` the erased memories that are still in them (None where the vector store
    does not answer: it is told later), `search` the results of a question for what was erased (None where too many others
    waited for it to be asked). `log_empty`: SQLite's log holds nothing of it, nor do answers that workers share;
    `index_purged`: nor do the files of the vector index, not even as deleted points. One that is false is being seen to,
    or, on a vector server, left to it.
    """

    database: int
    graph: int
    index: int | None
    search: int | None
    log_empty: bool
    index_purged: bool

    @property
    def found(self) -> int:
        """How much was found in all places together that could be looked at."""
        return self.database + self.graph + (self.index or 0) + (self.search or 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Erasure:
    """What an erasure removed, and what it leaves.

    `meetings_deleted` went whole, `meetings_changed` hold what is left of them. `still_named` counts where the name
    occurs in what others said and wrote. `older_backups` may still hold what was erased. `audit_entry` is its number.
    """

    meetings_deleted: int
    meetings_changed: int
    removed_memories: Mapping[str, int]  # by level
    removed_edges: int
    still_named: StillNamed | None
    older_backups: tuple[str, ...]
    proof: Proof
    audit_entry: int


async def erase_project(runtime: Runtime, project: str, *, actor: str = LOCAL) -> Erasure:
    """The project is gone, with what batches still hold of it; raises `NotFound` if there is none of this name."""
    project = plain_text(project)
    erased = await erasure.delete_project(runtime.database, project, actor=actor)
    proof = await _prove(runtime, erased.memories, np.empty((0, VECTOR_DIMENSIONS), np.float32),
                         Filters(project=(project,)), project)  # fmt: skip
    return await _told(
        runtime,
        actor=actor,
        action="project_erased",
        subject=pseudonym(project),
        meetings_deleted=len(erased.meetings),
        meetings_changed=0,
        removed_memories=erased.removed_memories,
        removed_edges=erased.removed_edges,
        still_named=None,
        proof=proof,
    )


async def erase_speaker(
    runtime: Runtime, name: str, *, project: str | None = None, actor: str = LOCAL
) -> Erasure:
    """Nothing that somebody of this name said is left, nor that they took part; the name is cleaned, and capitals do not matter.

    Without `project`, of all projects. Each meeting is a transaction of its own: what interrupts this leaves whole
    meetings, and erasing again does the rest. Raises `NotFound` if nobody of this name spoke or took part, and
    `MeetingsWaiting` while a batch holds meetings in which they do.
    """
    name, project = clean_text(name), project if project is None else plain_text(project)
    waiting = 0
    async for one in erasure.waiting_meetings(runtime.database, project):
        waiting += await asyncio.to_thread(_is_in, one, name)
    if waiting:
        raise MeetingsWaiting(
            f"{waiting} meetings of this speaker wait to be ingested; try again when their batches are done."
        )
    await erasure.forget_quotes(runtime.database)
    removed: list[str] = []
    taken: list[Deletion] = []
    sample: list[Float32s] = []
    spellings = {name}
    deleted = changed = 0
    for key in await erasure.meetings_of_speaker(runtime.database, name, project):
        seen = await kept_meeting(runtime.database, key)
        if seen is None:
            continue
        async with runtime.exclusive(seen.record.meeting_id):
            meeting = await kept_meeting(runtime.database, key)
            if meeting is None:
                continue
            said = [i for i, e in enumerate(meeting.episodes) if _is(e.speaker, name)]
            spellings.update(e.speaker for i in said if (e := meeting.episodes[i]).speaker is not None)
            removed += [meeting.ids[i] for i in said]
            sample += [meeting.vectors[i] for i in said[: SAMPLED - len(sample)]]
            if len(said) == len(meeting.episodes):
                deletion = await delete_meeting(
                    runtime.database, meeting.record.meeting_id, actor=actor, action="erase_speaker"
                )
                deleted += 1
            else:
                deletion = await _save_without(runtime, meeting, name, actor)
                changed += 1
            taken.append(deletion)
    if not deleted and not changed:
        raise NotFound("Nobody of this name spoke or took part in a meeting.", field="name")
    where = Filters(speaker=tuple(sorted(spellings)), project=() if project is None else (project,))
    proof = await _prove(
        runtime, removed, np.array(sample, np.float32).reshape(-1, VECTOR_DIMENSIONS), where, name
    )
    left = await erasure.meetings_of_speaker(runtime.database, name, project)
    return await _told(
        runtime,
        actor=actor,
        action="speaker_erased",
        subject=pseudonym(name.casefold()),
        meetings_deleted=deleted,
        meetings_changed=changed,
        # A meeting that was made again may be in more segments, or have more edges, than before.
        removed_memories={
            level.label: max(sum(one.removed_memories[level.label] for one in taken), 0) for level in Level
        },
        removed_edges=max(sum(one.removed_edges for one in taken), 0),
        still_named=await erasure.still_named(runtime.database, name, project),
        proof=replace(proof, database=proof.database + len(left)),
    )


async def _save_without(runtime: Runtime, meeting: KeptMeeting, name: str, actor: str) -> Deletion:
    """The meeting is made again from what everybody else said in it; returns what it and its concepts lost by that."""
    kept = [i for i, episode in enumerate(meeting.episodes) if not _is(episode.speaker, name)]
    record = replace(
        meeting.record,
        participants=tuple(one for one in meeting.record.participants if not _is(one, name)),
    )
    episodes = tuple(replace(meeting.episodes[i], position=place) for place, i in enumerate(kept))
    given = MeetingInput(
        title=record.title,
        transcript="",
        participants=record.participants,
        date=record.date,
        series=record.series,
        project=record.project,
        format=record.format,
        external_id=record.external_id,
        metadata=record.metadata,
    )
    memories = await memories_of(
        runtime,
        given,
        record.meeting_id,
        meeting.key,
        [meeting.ids[i] for i in kept],
        episodes,
        np.ascontiguousarray(meeting.vectors[kept, :SEMANTIC_DIMENSIONS]),
        stages=Stages("ingest"),
    )
    record = replace(record, content_hash=content_hash_of(given, episodes))
    return await save_what_is_left(runtime.database, record, memories, actor=actor)


async def _prove(
    runtime: Runtime, removed: Sequence[str], vectors: Float32s, filters: Filters, name: str
) -> Proof:
    """All stores are brought up to date, and what was removed is looked for in each of them."""
    log_empty = await runtime.forget_deleted()
    rows = await runtime.database.rows(queries.memory_rowids, memory_ids=_listed(removed))
    graph = runtime.live.current
    in_graph = int((graph.rows_by_id.find(list(removed)) >= 0).sum()) if removed else 0
    in_index = await _found_in_index(runtime, frozenset(removed), vectors, filters)
    return Proof(
        database=len(rows),
        graph=in_graph,
        index=in_index,
        search=await _found_by_question(runtime, Question(query=name[:1000], filters=filters)),
        log_empty=log_empty,
        index_purged=await runtime.purge_within(PURGE_WAIT_S),
    )


async def _found_in_index(
    runtime: Runtime, removed: frozenset[str], vectors: Float32s, filters: Filters
) -> int | None:
    """How many hits are of `removed` or pass `filters`; None if the index does not answer."""
    found = 0
    try:
        for vector in [*vectors, _any_vector()]:
            limits = dict.fromkeys(Level, 10)
            asked = np.concatenate((vector[:SEMANTIC_DIMENSIONS], np.zeros(FEATURE_DIMENSIONS, np.float32)))
            for hits in (await runtime.index.search(asked, limits, Filters())).values():
                found += sum(hit.memory_id in removed for hit in hits)
            for hits in (await runtime.index.search(asked, limits, in_pseudonyms(filters))).values():
                found += len(hits)
    except VectorStoreUnavailable:
        return None
    return found


async def _found_by_question(runtime: Runtime, question: Question) -> int | None:
    """How many results the question has; None if it could not be asked now: what is erased must be told all the same."""
    try:
        answer = await recall(runtime, question)
    except (Overloaded, Unavailable):
        return None
    found = [
        *(memory for direct in answer.direct_results.values() for memory in direct),
        *answer.activated_memories,
    ]
    # A concept has no speaker: one that others' words name leads to what they said, which is theirs and stays.
    levels = (Level.EPISODE,) if question.filters.speaker else tuple(Level)
    return sum(memory.level in {level.label for level in levels} for memory in found)


async def _told(
    runtime: Runtime,
    *,
    actor: str,
    action: str,
    subject: str,
    meetings_deleted: int,
    meetings_changed: int,
    removed_memories: Mapping[str, int],
    removed_edges: int,
    still_named: StillNamed | None,
    proof: Proof,
) -> Erasure:
    """The erasure as a whole, told in the audit too."""
    details = {
        "meetings_deleted": meetings_deleted,
        "meetings_changed": meetings_changed,
        **removed_memories,
        "edges": removed_edges,
        "found_again": proof.found,
    }
    entry = await runtime.database.write(
        add_entry, actor=actor, action=action, subject=subject, details=details
    )
    saved = await asyncio.to_thread(backups.list_backups, backup_dir(runtime.settings))
    return Erasure(
        meetings_deleted=meetings_deleted,
        meetings_changed=meetings_changed,
        removed_memories=removed_memories,
        removed_edges=removed_edges,
        still_named=still_named,
        older_backups=tuple(backup.name for backup in saved),
        proof=proof,
        audit_entry=entry,
    )


def _is_in(meeting: WaitingMeeting, name: str) -> bool:
    """Whether somebody of this name will speak or have taken part in the meeting when it is ingested."""
    try:
        transcript = parse_transcript(meeting.transcript, format=meeting.format)
    except CofioError:  # then it will fail, and nothing of it be remembered
        return False
    return any(_is(clean_text(one), name) for one in (*meeting.participants, *transcript.participants))


def _is(somebody: str | None, name: str) -> bool:
    return somebody is not None and somebody.casefold() == name.casefold()


def _any_vector() -> Float32s:
    vector = np.zeros(VECTOR_DIMENSIONS, np.float32)
    vector[0] = 1.0
    return vector


def _listed(ids: Collection[str]) -> str:
    return "[" + ",".join(f'"{one}"' for one in ids) + "]"
