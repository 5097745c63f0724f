"""Every limit of a request in one table: what it bounds, where it is set, and the problem that tells of its breach."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from cofio.errors import (
    CofioError,
    MetadataTooDeep,
    MetadataTooLarge,
    TooManyMeetings,
    TooManyParticipants,
    TranscriptTooLong,
)
from cofio.http.bodies import SMALL_JSON_VALUES
from cofio.http.ingest import BYTES_PER_CHARACTER, MAX_FORM_FIELD_BYTES, MAX_FORM_FIELDS, MAX_KEYS
from cofio.http.middleware import SLOWEST_BYTES_PER_S, SMALL_BODY_BYTES
from cofio.http.problems import (
    BodyTooLarge,
    BodyTooSlow,
    DecompressedTooLarge,
    FieldTooLong,
    HeadTooLarge,
    JsonTooDeep,
    PartTooLarge,
    TooManyItems,
    TooManyJsonValues,
    TooManyKeys,
    TooManyParts,
    UnsupportedContentEncoding,
    mapped,
)
from cofio.http.protocol import MAX_HEAD_BYTES
from cofio.http.schemas import MAX_FILTER_VALUES, MAX_NAME, MAX_QUERY
from cofio.settings import Settings


@dataclass(frozen=True, slots=True, kw_only=True)
class Limit:
    """What is bounded, by how much (a setting's name, a number, or words), and which problem its breach is."""

    what: str
    most: str | int
    kind: type[CofioError]


LIMITS: Final = (
    Limit(what="bytes of a request's address and headers", most=MAX_HEAD_BYTES, kind=HeadTooLarge),
    Limit(what="bytes of a body for `POST /ingest`", most="max_body_bytes", kind=BodyTooLarge),
    Limit(what="bytes of any other body", most=SMALL_BODY_BYTES, kind=BodyTooLarge),
    Limit(what="seconds between two pieces of a body", most="body_timeout_s", kind=BodyTooSlow),
    Limit(
        what="seconds of waiting for a body in all",
        most=f"`body_timeout_s`, and one for every {SLOWEST_BYTES_PER_S:,} bytes of it",
        kind=BodyTooSlow,
    ),
    Limit(
        what="bytes of a body once its `gzip` or `deflate` is undone",
        most="the same",
        kind=DecompressedTooLarge,
    ),
    Limit(
        what="other encodings of a body",
        most="none",
        kind=UnsupportedContentEncoding,
    ),
    Limit(
        what="objects and lists inside one another in JSON, also in that of a transcript",
        most="max_json_depth",
        kind=JsonTooDeep,
    ),
    Limit(
        what="values in the JSON of `POST /ingest`, and in that of each transcript",
        most="max_json_values",
        kind=TooManyJsonValues,
    ),
    Limit(what="values in any other JSON", most=SMALL_JSON_VALUES, kind=TooManyJsonValues),
    Limit(what="keys of a meeting, and of the body around a batch", most=MAX_KEYS, kind=TooManyKeys),
    Limit(what="meetings of a batch", most="max_batch_meetings", kind=TooManyMeetings),
    Limit(what="characters of a transcript", most="max_transcript_chars", kind=TranscriptTooLong),
    Limit(what="participants of a meeting", most="max_participants", kind=TooManyParticipants),
    Limit(what="bytes of a meeting's metadata as JSON", most="max_metadata_bytes", kind=MetadataTooLarge),
    Limit(what="objects and lists inside one another in it", most="max_metadata_depth", kind=MetadataTooDeep),
    Limit(what="files of an upload", most="max_batch_meetings", kind=TooManyParts),
    Limit(what="other fields of an upload", most=MAX_FORM_FIELDS, kind=TooManyParts),
    Limit(
        what="bytes of a file of an upload",
        most=f"{BYTES_PER_CHARACTER} × `max_transcript_chars`",
        kind=PartTooLarge,
    ),
    Limit(
        what="bytes of another field of an upload",
        most=f"{MAX_FORM_FIELD_BYTES}, or `max_metadata_bytes`",
        kind=PartTooLarge,
    ),
    Limit(what="characters of a question", most=MAX_QUERY, kind=FieldTooLong),
    Limit(
        what="characters of a title, a name, a project, a series, an external id or a filter's value",
        most=MAX_NAME,
        kind=FieldTooLong,
    ),
    Limit(what="values of a filter", most=MAX_FILTER_VALUES, kind=TooManyItems),
)


def describe_limits() -> str:
    """Every limit with the status and the code of its problem, as a table in Markdown."""
    rows = ["| limit on | at most | status | code |", "|---|---|---|---|"]
    for limit in LIMITS:
        most = limit.most
        if isinstance(most, str) and most in Settings.model_fields:
            most = f"`{most}`: {Settings.model_fields[most].default:,}"
        elif isinstance(most, int):
            most = f"{most:,}"
        rows.append(f"| {limit.what} | {most} | {mapped(limit.kind).status} | `{limit.kind.code}` |")
    return "\n".join(rows)
