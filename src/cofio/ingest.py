"""Ingest: one meeting in, a receipt out. What the receipt says is stored, indexed and in the graph."""

from __future__ import annotations

import asyncio
import hashlib
import math
import sqlite3
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import orjson
import structlog

from cofio.errors import CofioError, InvalidInput, UnreadableTranscript
from cofio.memories import MeetingMemories, named_id
from cofio.memorise import memorise
from cofio.records import SEMANTIC_DIMENSIONS, Episode, Float32s, MeetingInput, Receipt, Transcript
from cofio.runtime import Runtime
from cofio.store.meetings import (
    MeetingRecord,
    StoredMeeting,
    meeting_holdings,
    project_knowledge,
    save_meeting,
    stored_meeting,
)
from cofio.telemetry.metrics import INGEST_FAILURES, INGEST_SECONDS, INGESTED_MEETINGS
from cofio.telemetry.stages import Stages
from cofio.telemetry.traces import annotate
from cofio.text.clean import clean_text, plain_text
from cofio.text.concepts import possible_keys
from cofio.text.extract import episodes as extract_episodes
from cofio.text.extract import is_document
from cofio.text.parse import FORMATS, parse_transcript

_log: Final = structlog.get_logger(__name__)

# How many open questions of earlier meetings a new meeting is searched for answers to, the latest first.
OPEN_QUESTIONS: Final = 500


async def ingest(
    runtime: Runtime,
    meeting: MeetingInput,
    *,
    on_encoded: Callable[[int], None] | None = None,
    settle: bool = True,
    still_wanted: Callable[[sqlite3.Connection], bool] = lambda connection: True,
) -> Receipt:
    """The meeting is remembered, whole or not at all; a meeting that is known already is brought up to date.

    A meeting is known again by its `external_id`, or without one by project, series, title, date and its first
    utterance. `on_encoded` is told of all texts whose vectors are there. Without `settle` the meeting is stored, but
    graph and vector index learn of it only by the next `runtime.settle()`: for loading thousands. Raises `UnknownFormat`,
    `UnreadableTranscript`, `EmptyTranscript` or `InvalidInput` for what cannot be taken, and
    `EncoderUnavailable` if the encoder fails; then nothing was stored. So does `MeetingErased`, where the transaction that
    would store it finds it not `still_wanted`. Either way it is counted, timed and logged.
    """
    started = time.perf_counter()
    stages = Stages("ingest")
    format = meeting.format if meeting.format in FORMATS else "unknown"
    try:
        with stages("parse"):
            read = await asyncio.to_thread(_read, meeting)
        format = read.transcript.format
        receipt = await _remember(runtime, read, stages, on_encoded, settle=settle, still_wanted=still_wanted)
    except CofioError as error:
        if isinstance(error, UnreadableTranscript) and error.read_as is not None:
            format = error.read_as
        INGEST_FAILURES.labels(format, error.code).inc()
        annotate(outcome=error.code, format=format)
        _log.info("ingest", outcome=error.code, format=format, stages_ms=stages.ms)
        raise
    seconds = time.perf_counter() - started
    INGEST_SECONDS.observe(seconds)
    INGESTED_MEETINGS.labels(receipt.outcome, format).inc()
    annotate(outcome=receipt.outcome, format=format, meeting_id=receipt.meeting_id)
    _log.info(
        "ingest",
        outcome=receipt.outcome,
        format=format,
        meeting_id=receipt.meeting_id,
        added=receipt.added,
        removed=receipt.removed,
        duration_ms=round(seconds * 1000, 3),
        stages_ms=stages.ms,
    )
    return receipt


@dataclass(frozen=True, slots=True, kw_only=True)
class _Read:
    """A meeting as its transcript was read: what the transcript itself knows is filled in."""

    meeting: MeetingInput
    meeting_id: str
    transcript: Transcript
    episodes: tuple[Episode, ...]
    ids: tuple[str, ...]  # of the episodes
    content_hash: str


async def _remember(
    runtime: Runtime,
    read: _Read,
    stages: Stages,
    on_encoded: Callable[[int], None] | None,
    *,
    settle: bool,
    still_wanted: Callable[[sqlite3.Connection], bool],
) -> Receipt:
    meeting, meeting_id, transcript, ids = read.meeting, read.meeting_id, read.transcript, read.ids
    async with runtime.exclusive(meeting_id):
        with stages("look_up"):
            stored = await stored_meeting(runtime.database, meeting_id)
        earlier = stored is not None and set(ids) < stored.vectors.keys() and meeting.external_id is None
        if stored is not None and (earlier or stored.content_hash == read.content_hash):
            warnings = transcript.warnings
            if earlier:
                warnings += ("the stored meeting already holds all of this and more; nothing was changed",)
            return await _receipt(
                runtime, meeting_id, "unchanged", meeting, transcript, warnings, stages, kept=len(ids)
            )
        with stages("encode"):
            vectors = await _encode(runtime, ids, read.episodes, stored, on_encoded)
        memories = await memories_of(
            runtime,
            meeting,
            meeting_id,
            stored.key if stored else None,
            ids,
            read.episodes,
            vectors,
            stages=stages,
        )
        with stages("store"):
            await save_meeting(
                runtime.database,
                _record(meeting, meeting_id, transcript, read.content_hash, memories),
                memories,
                still_wanted=still_wanted,
            )
        with stages("index"):
            indexed = not settle or await runtime.settle(wait_s=runtime.settings.vector_timeout_s)
        before = stored.vectors.keys() if stored else set()
        added, removed = len(set(ids) - before), len(before - set(ids))
        warnings = transcript.warnings
        if removed:
            warnings += (
                f"{removed} utterances that the meeting held before are not in this transcript and were removed",
            )
        if not indexed:
            warnings += (
                "stored; the vector index does not answer and will be brought up to date when it does",
            )
        outcome = "created" if stored is None else "grown" if added and not removed else "changed"
        return await _receipt(
            runtime, meeting_id, outcome, meeting, transcript, warnings, stages,
            added=added, kept=len(ids) - added, removed=removed,
        )  # fmt: skip


def _read(meeting: MeetingInput) -> _Read:
    transcript = parse_transcript(meeting.transcript, format=meeting.format)
    title = clean_text(meeting.title) or transcript.title
    if not title:
        raise InvalidInput("The meeting needs a title.", field="title")
    named = dict.fromkeys(
        name for raw in (*meeting.participants, *transcript.participants) if (name := clean_text(raw))
    )
    episodes = extract_episodes(
        transcript, document_title=title if is_document(transcript) and not named else None
    )
    meeting = MeetingInput(
        title=title,
        transcript=meeting.transcript,
        participants=tuple(named),
        date=meeting.date or transcript.date,
        series=plain_text(meeting.series) or None if meeting.series is not None else None,
        project=plain_text(meeting.project),
        format=transcript.format,
        external_id=plain_text(meeting.external_id) or None if meeting.external_id is not None else None,
        metadata=meeting.metadata,
    )
    meeting_id = _meeting_id(meeting, transcript)
    return _Read(
        meeting=meeting,
        meeting_id=meeting_id,
        transcript=transcript,
        episodes=episodes,
        ids=_episode_ids(meeting_id, episodes),
        content_hash=_content_hash(meeting, episodes),
    )


def _content_hash(meeting: MeetingInput, episodes: Sequence[Episode]) -> str:
    try:
        return content_hash_of(meeting, episodes)
    except orjson.JSONEncodeError as error:  # all else is text that was cleaned
        raise InvalidInput(f"The metadata cannot be written as JSON: {error}.", field="metadata") from error


def _meeting_id(meeting: MeetingInput, transcript: Transcript) -> str:
    if meeting.external_id is not None:
        return named_id("meeting", meeting.project, meeting.external_id)
    first = transcript.utterances[0]
    return named_id(
        "meeting",
        meeting.project,
        meeting.series,
        meeting.title,
        meeting.date,
        first.speaker,
        first.start_s,
        first.text,
    )


async def memories_of(
    runtime: Runtime,
    meeting: MeetingInput,
    meeting_id: str,
    key: int | None,
    ids: Sequence[str],
    episodes: Sequence[Episode],
    vectors: Float32s,
    *,
    stages: Stages,
) -> MeetingMemories:
    """What the meeting becomes beside what its project knows now; nothing is stored.

    `key` is its row id, None for a new one; `vectors` are the (n, 384) unit vectors of the episodes.
    """
    with stages("look_up"):
        keys = await asyncio.to_thread(possible_keys, episodes)
        known, questions = await project_knowledge(
            runtime.database, meeting.project, key, keys, OPEN_QUESTIONS
        )
    with stages("memorise"):
        return await asyncio.to_thread(
            memorise, meeting, meeting_id, ids, episodes, vectors, known, questions
        )


def content_hash_of(meeting: MeetingInput, episodes: Sequence[Episode]) -> str:
    """A fingerprint of all that the meeting holds: equal for equal meetings, whatever format they came in."""
    said = [[e.speaker, e.text, e.start_s, e.end_s] for e in episodes]
    facts = [meeting.title, meeting.date, meeting.series, meeting.participants, dict(meeting.metadata), said]
    if episodes and episodes[0].title is not None:
        facts.append("document")
    return hashlib.sha256(orjson.dumps(facts, option=orjson.OPT_SORT_KEYS)).hexdigest()


def _episode_ids(meeting_id: str, episodes: Sequence[Episode]) -> tuple[str, ...]:
    """One id an episode: who said what (or under which title), and for the how-manieth time.

    A grown transcript keeps its ids.
    """
    seen: dict[tuple[str | None, str], int] = {}
    ids = []
    for episode in episodes:
        said = (episode.speaker or episode.title, episode.text)
        seen[said] = seen.get(said, 0) + 1
        ids.append(named_id("episode", meeting_id, *said, seen[said]))
    return tuple(ids)


async def _encode(
    runtime: Runtime,
    ids: Sequence[str],
    episodes: Sequence[Episode],
    stored: StoredMeeting | None,
    on_encoded: Callable[[int], None] | None,
) -> Float32s:
    """The (n, 384) semantic vectors of the episodes; what is stored already, or said twice, is not encoded again."""
    known: Mapping[str, Float32s] = stored.vectors if stored else {}
    new = [i for i, memory_id in enumerate(ids) if memory_id not in known]
    vectors = np.empty((len(ids), SEMANTIC_DIMENSIONS), np.float32)
    for i, memory_id in enumerate(ids):
        if memory_id in known:
            vectors[i] = known[memory_id][:SEMANTIC_DIMENSIONS]
    if new:
        texts = [episodes[i].encoded_text for i in new]
        place = {text: at for at, text in enumerate(dict.fromkeys(texts))}
        encoded = await runtime.batcher.encode(list(place), urgent=False, on_progress=on_encoded)
        vectors[new] = encoded[[place[text] for text in texts]]
        if on_encoded is not None:
            on_encoded(len(texts) - len(place))
    return vectors


def _record(
    meeting: MeetingInput,
    meeting_id: str,
    transcript: Transcript,
    content_hash: str,
    memories: MeetingMemories,
) -> MeetingRecord:
    times = [t for memory in memories.episodes for t in (memory.start_s, memory.end_s) if t is not None]
    return MeetingRecord(
        meeting_id=meeting_id,
        project=meeting.project,
        series=meeting.series,
        title=meeting.title,
        date=meeting.date,
        external_id=meeting.external_id,
        format=transcript.format,
        participants=meeting.participants,
        metadata=meeting.metadata,
        document=is_document(transcript) and not meeting.participants,
        content_hash=content_hash,
        duration_s=max(filter(math.isfinite, times), default=None),
    )


async def _receipt(
    runtime: Runtime,
    meeting_id: str,
    outcome: str,
    meeting: MeetingInput,
    transcript: Transcript,
    warnings: tuple[str, ...],
    stages: Stages,
    *,
    added: int = 0,
    kept: int = 0,
    removed: int = 0,
) -> Receipt:
    held = await meeting_holdings(runtime.database, meeting_id)
    return Receipt(
        meeting_id=meeting_id,
        outcome=outcome,
        title=meeting.title,
        format=transcript.format,
        added=added,
        kept=kept,
        removed=removed,
        memories_by_level=held.by_level,
        memories_by_type=held.by_type,
        edges=held.edges,
        warnings=warnings,
        stages_ms=stages.ms,
    )
