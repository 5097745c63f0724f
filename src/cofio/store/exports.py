"""Everything that is remembered, as JSON lines, and such lines as meetings again.

The first line is an `export` with the version, the encoder and counts. A `meeting` follows with its `episode`s, `context`s,
`edge`s and `mention`s, then the next one; then every `concept`, for readers: they follow from the mentions. The last line,
`end`, has the number of lines before it and their SHA-256, so that what was cut off is seen. Vectors are base64 of
float32, little-endian.
"""

from __future__ import annotations

import base64
import contextlib
import datetime as dt
import hashlib
import sqlite3
from collections.abc import Generator, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any, BinaryIO, Final, TypeVar

import numpy as np
import orjson
from pydantic import Base64Bytes, Field, TypeAdapter, ValidationError

import cofio
from cofio.errors import DamagedExport
from cofio.memories import Edge, MeetingMemories, Memory, Mention
from cofio.records import VECTOR_DIMENSIONS, ConceptKind, EdgeKind, Float32s, Level, MemoryType
from cofio.store.archives import nameless_copy
from cofio.store.database import queries
from cofio.store.meetings import MeetingRecord, meeting_record

Parsed = TypeVar("Parsed")

FORMAT: Final = 1
CHUNK_BYTES: Final = 1 << 16
_LONGEST_LINE: Final = 64 * 1024 * 1024

Id = Annotated[str, Field(pattern=r"^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$")]


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportHead:
    """What an export is: of one project or of all (None), with vectors of which encoder, and how much."""

    format: int
    cofio: str
    created_at: str
    encoder: str | None
    project: str | None
    counts: Mapping[str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportedMeeting:
    """A meeting of an export, with what it became. `at` is where its first line begins in the file."""

    at: int
    record: MeetingRecord
    memories: MeetingMemories


@dataclass(frozen=True, slots=True, kw_only=True)
class _Meeting:
    meeting_id: Id
    project: str
    series: str | None
    title: str
    date: dt.date | None
    external_id: str | None
    format: str
    participants: tuple[str, ...]
    metadata: dict[str, Any]
    document: bool
    content_hash: str
    duration_s: float | None
    ingested_at: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _Memory:
    memory_id: Id
    position: int
    memory_type: MemoryType
    content: str
    words: int
    speaker: str | None
    start_s: float | None
    end_s: float | None
    pure_question: bool
    details: dict[str, Any]
    vector: Base64Bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class _Edge:
    source: Id
    target: Id
    type: EdgeKind
    weight: float


@dataclass(frozen=True, slots=True, kw_only=True)
class _Mention:
    key: str
    concept_kind: ConceptKind
    label: str
    salience: float
    contexts: int
    episodes: tuple[int, ...]
    definition: int | None
    vector: Base64Bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class _End:
    lines: int
    sha256: str


_HEAD: Final = TypeAdapter(ExportHead)
_MEETING: Final = TypeAdapter(_Meeting)
_MEMORY: Final = TypeAdapter(_Memory)
_EDGE: Final = TypeAdapter(_Edge)
_MENTION: Final = TypeAdapter(_Mention)
_END: Final = TypeAdapter(_End)


class Export:
    """The state that the truth had when this was opened; `chunks` reads it, once, and closes it."""

    def __init__(self, connection: sqlite3.Connection, project: str | None) -> None:
        self._connection = connection
        self._project = project

    @classmethod
    def open(cls, database: Path, folder: Path, project: str | None) -> Export:
        """An export of a copy, so that a slow reader holds up nobody; the copy lies in `folder` without a name.

        Raises `NotFound`, `BackupUnderWay` or `Unavailable`.
        """
        connection = nameless_copy(database, folder)
        connection.row_factory = sqlite3.Row
        return cls(connection, project)

    def chunks(self) -> Generator[bytes, None, None]:
        """The lines, whole, some at once."""
        digest, count, waiting, size = hashlib.sha256(), 0, list[bytes](), 0
        with contextlib.closing(self._connection):
            for value in self._values():
                line = orjson.dumps(value) + b"\n"
                digest.update(line)
                count += 1
                waiting.append(line)
                size += len(line)
                if size >= CHUNK_BYTES:
                    yield b"".join(waiting)
                    waiting, size = [], 0
            end = {"kind": "end", "lines": count, "sha256": digest.hexdigest()}
            yield b"".join([*waiting, orjson.dumps(end), b"\n"])

    def _values(self) -> Iterator[dict[str, object]]:
        connection, project = self._connection, {"project": self._project}
        encoder = connection.execute(queries.fact.sql, {"name": "encoder"}).fetchone()
        counts = connection.execute(queries.export_counts.sql, project).fetchone()
        head = ExportHead(
            format=FORMAT,
            cofio=cofio.__version__,
            created_at=dt.datetime.now(dt.UTC).isoformat(timespec="milliseconds"),
            encoder=None if encoder is None else encoder["value"],
            project=self._project,
            counts=dict(counts),
        )
        yield {"kind": "export", **asdict(head)}
        for meeting in connection.execute(queries.meetings_to_export.sql, project):
            yield {"kind": "meeting", **asdict(meeting_record(meeting))}
            of = {"meeting": meeting["id"]}
            for row in connection.execute(queries.memories_to_export.sql, of):
                yield {
                    **{name: row[name] for name in row.keys()},  # noqa: SIM118  a row iterates over its values
                    "kind": "episode" if row["level"] == Level.EPISODE else "context",
                    "level": Level(row["level"]).label,
                    "pure_question": bool(row["pure_question"]),
                    "details": orjson.loads(row["details"]),
                    "vector": base64.b64encode(row["vector"]).decode(),
                }
            for row in connection.execute(queries.edges_to_export.sql, of):
                yield {
                    "kind": "edge",
                    "source": row["source"],
                    "target": row["target"],
                    "type": row["kind"],
                    "weight": row["weight"],
                }
            for row in connection.execute(queries.mentions_to_export.sql, of):
                yield {
                    "kind": "mention",
                    "key": row["concept_key"],
                    "concept_kind": row["kind"],
                    "label": row["label"],
                    "salience": row["salience"],
                    "contexts": row["contexts"],
                    "episodes": orjson.loads(row["episodes"]),
                    "definition": row["definition"],
                    "vector": base64.b64encode(row["vector_sum"]).decode(),
                }
        for row in connection.execute(queries.concepts_to_export.sql, project):
            yield {
                "kind": "concept",
                "memory_id": row["memory_id"],
                "level": Level.CONCEPT.label,
                "project": row["project"],
                "content": row["content"],
                "details": orjson.loads(row["details"]),
            }


def check_export(file: BinaryIO) -> ExportHead:
    """What the export is; it is whole, to the last byte. Raises `DamagedExport`."""
    digest, count, last = hashlib.sha256(), 0, b""
    file.seek(0)
    head = _parsed(_HEAD, _value(file.readline(_LONGEST_LINE), 1, "export"), 1)
    if head.format != FORMAT:
        raise DamagedExport(f"The export has the format {head.format}; this version of cofio reads {FORMAT}.")
    file.seek(0)
    while line := file.readline(_LONGEST_LINE):
        if last:
            digest.update(last)
            count += 1
        last = line
    end = _parsed(_END, _value(last, count + 1, "end"), count + 1)
    if (end.lines, end.sha256) != (count, digest.hexdigest()):
        raise DamagedExport("The export is damaged: its lines are not those that its last line counts.")
    return head


def read_meetings(file: BinaryIO, at: int | None = None) -> Iterator[ExportedMeeting]:
    """The meetings of an export that was checked, one after the other; with `at`, from the one that begins there on.

    Raises `DamagedExport` for a line that is not what it must be.
    """
    file.seek(at or 0)
    lines: list[dict[str, Any]] = []
    begun = number = 0
    while True:
        here = file.tell()
        line = file.readline(_LONGEST_LINE)
        number += 1
        value = _value(line, number) if line else {"kind": "end"}
        if value["kind"] in ("meeting", "concept", "end"):
            if lines:
                yield _meeting(begun, lines, number)
            lines, begun = [value], here
            if value["kind"] != "meeting":
                return
        elif lines:
            lines.append(value)


def _meeting(at: int, lines: list[dict[str, Any]], number: int) -> ExportedMeeting:
    of_kind: dict[str, list[dict[str, Any]]] = {}
    for value in lines:
        of_kind.setdefault(value.pop("kind"), []).append(value)
    edges = [_parsed(_EDGE, value, number) for value in of_kind.get("edge", ())]
    mentions = [_parsed(_MENTION, value, number) for value in of_kind.get("mention", ())]
    return ExportedMeeting(
        at=at,
        record=MeetingRecord(**_fields(_parsed(_MEETING, lines[0], number))),
        memories=MeetingMemories(
            episodes=_memories(of_kind.get("episode", ()), Level.EPISODE, number),
            contexts=_memories(of_kind.get("context", ()), Level.CONTEXT, number),
            edges=tuple(
                Edge(source=edge.source, target=edge.target, kind=edge.type, weight=edge.weight)
                for edge in edges
            ),
            mentions=tuple(
                Mention(
                    key=mention.key,
                    kind=mention.concept_kind,
                    label=mention.label,
                    salience=mention.salience,
                    contexts=mention.contexts,
                    episodes=mention.episodes,
                    definition=mention.definition,
                    vector_sum=_vector(mention.vector, number),
                )
                for mention in mentions
            ),
        ),
    )


def _fields(meeting: _Meeting) -> dict[str, Any]:
    return {name: getattr(meeting, name) for name in _Meeting.__slots__}


def _memories(values: Iterable[dict[str, Any]], level: Level, number: int) -> tuple[Memory, ...]:
    return tuple(
        Memory(
            memory_id=one.memory_id,
            level=level,
            position=one.position,
            memory_type=one.memory_type,
            content=one.content,
            words=one.words,
            vector=_vector(one.vector, number),
            speaker=one.speaker,
            start_s=one.start_s,
            end_s=one.end_s,
            pure_question=one.pure_question,
            details=one.details,
        )
        for one in (_parsed(_MEMORY, value, number) for value in values)
    )


def _vector(stored: bytes, number: int) -> Float32s:
    if len(stored) != 4 * VECTOR_DIMENSIONS:
        raise DamagedExport(f"Before line {number} of the export, a vector has {len(stored)} bytes.")
    vector = np.frombuffer(stored, "<f4").astype(np.float32)
    if not np.isfinite(vector).all():
        raise DamagedExport(
            f"Before line {number} of the export, a vector holds a number that is not finite."
        )
    return vector


def _value(line: bytes, number: int, kind: str | None = None) -> dict[str, Any]:
    try:
        value = orjson.loads(line)
    except orjson.JSONDecodeError as error:
        raise DamagedExport(
            f"Line {number} is not JSON: this is no export of cofio, or it was cut off."
        ) from error
    if not isinstance(value, dict) or "kind" not in value or (kind is not None and value["kind"] != kind):
        raise DamagedExport(
            f"Line {number} is not of kind {kind or 'known'}: this is no export of cofio, or it was cut off."
        )
    return value


def _parsed(adapter: TypeAdapter[Parsed], value: dict[str, Any], number: int) -> Parsed:
    try:
        return adapter.validate_python({name: value[name] for name in value if name != "kind"})
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(map(str, first["loc"]))
        raise DamagedExport(f"Before line {number} of the export, {where}: {first['msg']}.") from error
