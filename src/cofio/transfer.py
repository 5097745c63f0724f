"""Taking what is remembered elsewhere: out as JSON lines, in again with the same ids, dates and answers."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np

from cofio.data_dir import DATABASE_NAME, backup_dir
from cofio.embed.onnx import comparable
from cofio.errors import NotFound, Unavailable
from cofio.ingest import memories_of
from cofio.memories import MeetingMemories
from cofio.records import SEMANTIC_DIMENSIONS, Episode, MeetingInput
from cofio.runtime import Runtime
from cofio.settings import Settings
from cofio.store import audit
from cofio.store.audit import LOCAL, add_entry
from cofio.store.database import queries
from cofio.store.exports import Export, ExportedMeeting, check_export, read_meetings
from cofio.store.meetings import save_meeting, stored_meeting
from cofio.store.pseudonyms import pseudonym
from cofio.telemetry.stages import Stages


@dataclass(frozen=True, slots=True, kw_only=True)
class Imported:
    """What an import did, in meetings. `encoded_again` says that the vectors are this store's encoder's."""

    added: int
    replaced: int
    unchanged: int
    encoded_again: bool


def open_export(settings: Settings, project: str | None, *, actor: str = LOCAL) -> Export:
    """An export of the store as it is now, while it may be serving, which the audit tells; raises `NotFound`, `BackupUnderWay` or `Unavailable`."""
    database = settings.data_dir / DATABASE_NAME
    export = Export.open(database, backup_dir(settings), project)
    subject = "" if project is None else pseudonym(project)
    audit.note(database, actor=actor, action="export", subject=subject, details={})
    return export


def write_export(export: Iterator[bytes], target: Path) -> int:
    """The export lies at `target`, whole or not at all; returns its bytes. Raises `Unavailable`."""
    part = target.with_name(f"{target.name}.part")
    size = 0
    try:
        with part.open("wb") as file:
            for chunk in export:
                size += file.write(chunk)
        part.replace(target)
    except OSError as error:
        raise Unavailable(f"The export cannot be written to {target}: {error.strerror}.") from error
    finally:
        part.unlink(missing_ok=True)
    return size


async def import_export(
    runtime: Runtime, path: Path, *, on_meeting: Callable[[int, int], None] | None = None
) -> Imported:
    """The store holds the meetings of the export at `path`, beside what it held; importing again changes nothing.

    Ids, dates and texts are those of the export. Vectors are too, where the encoder is the same; another encoder
    encodes the utterances again, and types, contexts and concepts are made anew from that. Each meeting is a transaction of
    its own. `on_meeting` is told how many of how many are done. Raises `NotFound` or `DamagedExport`; then nothing is
    imported.
    """
    with _opened(path) as file:
        head = await asyncio.to_thread(check_export, file)
        again = not comparable(runtime.encoder, head.encoder)
        outcomes = {"added": 0, "replaced": 0, "unchanged": 0}
        early: list[int] = []
        meetings = read_meetings(file)
        try:
            while (meeting := await asyncio.to_thread(next, meetings, None)) is not None:
                outcomes[await _import(runtime, meeting, again)] += 1
                if await _lacks_an_edge(runtime, meeting):
                    early.append(meeting.at)
                if on_meeting is not None:
                    on_meeting(sum(outcomes.values()), head.counts.get("meetings", 0))
        finally:  # those before a failure are stored
            await runtime.database.write(
                add_entry, actor=LOCAL, action="import", subject="", details=outcomes
            )
        for at in early:
            # Now that the questions are there, which it answers.
            meeting = await asyncio.to_thread(next, read_meetings(file, at))
            async with runtime.exclusive(meeting.record.meeting_id):
                if await _is_stored(runtime, meeting):
                    memories = await _memories(runtime, meeting, again)
                    await save_meeting(runtime.database, meeting.record, memories)
    await runtime.settle()
    return Imported(**outcomes, encoded_again=again and bool(outcomes["added"] + outcomes["replaced"]))


async def _import(runtime: Runtime, meeting: ExportedMeeting, again: bool) -> str:
    meeting_id = meeting.record.meeting_id
    async with runtime.exclusive(meeting_id):
        if await _is_stored(runtime, meeting):
            return "unchanged"
        stored = await stored_meeting(runtime.database, meeting_id)
        await save_meeting(runtime.database, meeting.record, await _memories(runtime, meeting, again))
    return "added" if stored is None else "replaced"


async def _memories(runtime: Runtime, meeting: ExportedMeeting, again: bool) -> MeetingMemories:
    """What the export says that the meeting is, or what it becomes with this store's encoder."""
    if not again:
        return meeting.memories
    record = meeting.record
    episodes = [
        Episode(
            text=memory.content,
            position=memory.position,
            words=memory.words,
            speaker=memory.speaker,
            title=record.title if record.document else None,
            start_s=memory.start_s,
            end_s=memory.end_s,
        )
        for memory in meeting.memories.episodes
    ]
    vectors = await runtime.batcher.encode([episode.encoded_text for episode in episodes], urgent=False)
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
    stored = await stored_meeting(runtime.database, record.meeting_id)
    return await memories_of(
        runtime,
        given,
        record.meeting_id,
        stored.key if stored else None,
        [memory.memory_id for memory in meeting.memories.episodes],
        episodes,
        np.ascontiguousarray(vectors[:, :SEMANTIC_DIMENSIONS]),
        stages=Stages("ingest"),
    )


async def _is_stored(runtime: Runtime, meeting: ExportedMeeting) -> bool:
    """Whether the store holds the meeting with all that it holds in the export."""
    stored = await stored_meeting(runtime.database, meeting.record.meeting_id)
    return stored is not None and stored.content_hash == meeting.record.content_hash


async def _lacks_an_edge(runtime: Runtime, meeting: ExportedMeeting) -> bool:
    """Whether the meeting answers a question and is not tied to it: that came later, or an import ended in between."""
    memories = meeting.memories
    own = {memory.memory_id for memory in (*memories.episodes, *memories.contexts)}
    wanted = {(edge.source, edge.target) for edge in memories.edges if edge.target not in own}
    if not wanted:
        return False
    rows = await runtime.database.rows(queries.edges_out_of, meeting_id=meeting.record.meeting_id)
    return not wanted <= {(row["source"], row["target"]) for row in rows}


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[BinaryIO]:
    try:
        file = path.open("rb")
    except FileNotFoundError as error:
        raise NotFound(f"There is no export {path}.", field="file") from error
    except OSError as error:
        raise Unavailable(f"The export {path} cannot be read: {error.strerror}.") from error
    with file:
        yield file
