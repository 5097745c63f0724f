"""POST /ingest: one meeting or many, as JSON or as uploaded files."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, TypeVar

import orjson
from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, ValidationError
from starlette.datastructures import FormData, UploadFile
from starlette.exceptions import HTTPException

from cofio import batches, ingest
from cofio.access.callers import Caller
from cofio.errors import (
    EncoderUnavailable,
    InvalidInput,
    MetadataTooDeep,
    MetadataTooLarge,
    Overloaded,
    StorageFull,
    StoreBusy,
    TooManyMeetings,
    TooManyParticipants,
    TranscriptTooLong,
    Unavailable,
)
from cofio.files import SourceFile, check_bounds, title_of
from cofio.http.bodies import check_json
from cofio.http.problems import (
    BodyTooLarge,
    BodyTooSlow,
    DecompressedTooLarge,
    FieldError,
    FieldTooLong,
    InvalidRequest,
    JsonTooDeep,
    MalformedBody,
    PartTooLarge,
    RateLimited,
    TooManyJsonValues,
    TooManyKeys,
    TooManyParts,
    UnsupportedContentEncoding,
    UnsupportedMediaType,
    describe,
    invalid,
)
from cofio.http.projects import check_projects
from cofio.http.schemas import NAME, Accepted, BatchRequest, MeetingRequest
from cofio.http.state import OpenRuntime, Sender
from cofio.http.wire import answer
from cofio.records import DEFAULT_PROJECT, MeetingInput, Receipt
from cofio.settings import Settings
from cofio.text.parse import FORMATS, check_format, json_of
from cofio.text.parse.decode import decode

Model = TypeVar("Model", bound=BaseModel)

router = APIRouter(tags=["ingest"])

_FILES: Final = ("file", "files")
_FORM_FIELDS: Final = tuple(name for name in MeetingRequest.model_fields if name != "transcript")
MAX_FORM_FIELDS: Final = 32
MAX_FORM_FIELD_BYTES: Final = 64 * 1024
MAX_KEYS: Final = 64
BYTES_PER_CHARACTER: Final = 4  # as many as UTF-8 needs at most, and UTF-16 and UTF-32 too
_ONE_FILE_ONLY: Final = ("title", "external_id")  # they name one meeting, so they cannot stand for several

_FORM_LIMITS: Final[Mapping[str, type[InvalidInput]]] = {
    "Too many": TooManyParts,
    "Part exceeded": PartTooLarge,
}

_EXAMPLE_VTT: Final = """WEBVTT

00:00:01.000 --> 00:00:06.000
<v Dana>We go with Postgres; Sam writes the migration by Friday."""
_BODY: Final[dict[str, Any]] = {
    "required": True,
    "content": {
        "application/json": {
            "schema": {
                "oneOf": [
                    {"$ref": "#/components/schemas/MeetingRequest"},
                    {"$ref": "#/components/schemas/BatchRequest"},
                ]
            },
            "examples": {
                "one": {
                    "summary": "One meeting",
                    "value": {
                        "title": "Storage sync",
                        "date": "2025-03-14",
                        "series": "Storage weekly",
                        "project": "atlas",
                        "transcript": _EXAMPLE_VTT,
                    },
                },
                "batch": {
                    "summary": "Several meetings, in the background",
                    "value": {
                        "meetings": [
                            {
                                "title": "Monday",
                                "transcript": "Dana: Did the import finish?\nSam: Yes, at nine.",
                            },
                            {"title": "Tuesday", "transcript": "Dana: Who owns the dashboard?\nSam: I do."},
                        ]
                    },
                },
            },
        },
        "multipart/form-data": {
            "schema": {
                "type": "object",
                "required": ["file"],
                "additionalProperties": False,
                "properties": {
                    "file": {
                        "type": "array",
                        "minItems": 1,
                        "items": {"type": "string", "format": "binary"},
                        "description": "Transcript files; also accepted under the name `files`.",
                    },
                    "title": {**NAME, "description": "Defaults to the file's name. One file only."},
                    "participants": {"type": "string", "description": "Names, separated by commas."},
                    "date": {"type": "string", "format": "date"},
                    "series": NAME,
                    "project": NAME,
                    "format": {"type": "string", "enum": list(FORMATS)},
                    "external_id": {**NAME, "description": "One file only."},
                    "metadata": {"type": "object", "description": "As JSON."},
                },
            },
            "encoding": {"metadata": {"contentType": "application/json"}},
        },
    },
}


@router.post(
    "/ingest",
    summary="Remember one meeting or many",
    description=(
        "One meeting, or one uploaded file, is remembered before the answer: 200 with a receipt. A batch "
        "`{meetings: [...]}`, or several files, is accepted with 202 and remembered in the background. "
        "The same meeting again changes nothing; a grown transcript adds only what is new."
    ),
    response_model=None,
    responses={
        200: {"model": Receipt, "description": "The meeting is stored and can be found."},
        202: {
            "model": Accepted,
            "description": "The batch is on its way.",
            "headers": {"Location": {"description": "The status URL.", "schema": {"type": "string"}}},
        },
        **describe(
            MalformedBody,
            JsonTooDeep,
            BodyTooSlow,
            BodyTooLarge,
            DecompressedTooLarge,
            TooManyJsonValues,
            TooManyParts,
            PartTooLarge,
            UnsupportedMediaType,
            UnsupportedContentEncoding,
            InvalidRequest,
            FieldTooLong,
            TooManyKeys,
            TooManyMeetings,
            TooManyParticipants,
            TranscriptTooLong,
            MetadataTooLarge,
            MetadataTooDeep,
            InvalidInput,
            RateLimited,
            Overloaded,
            Unavailable,
            EncoderUnavailable,
            StoreBusy,
            StorageFull,
        ),
    },
    openapi_extra={"requestBody": _BODY},
)
async def remember(request: Request, runtime: OpenRuntime, sender: Sender) -> Response:
    """What the request holds is stored (one meeting) or on its way (several)."""
    settings = runtime.settings
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type == "application/json":
        # Tens of megabytes of JSON are read beside the event loop, not on it.
        meetings, is_batch = await asyncio.to_thread(_from_json, await request.body(), sender, settings)
        warnings: tuple[str, ...] = ()
    elif media_type == "multipart/form-data":
        uploads, fields = await _parse_form(request, settings)
        sources = await asyncio.to_thread(_from_files, uploads, fields, sender, settings)
        meetings, is_batch = [source.meeting for source in sources], len(sources) > 1
        warnings = sources[0].warnings
    else:
        raise UnsupportedMediaType(
            f"Send application/json or multipart/form-data, not {media_type or 'a body without a type'}."
        )
    if not is_batch:
        receipt = await ingest.ingest(runtime, meetings[0])
        return answer(replace(receipt, warnings=(*warnings, *receipt.warnings)))
    operation_id = await batches.submit(
        runtime, meetings, project=sender.project, request_id=request.scope["request_id"]
    )
    status_url = f"/operations/{operation_id}"
    accepted = {"operation_id": operation_id, "status_url": status_url}
    return answer(accepted, status=202, headers={"Location": status_url})


def _from_json(body: bytes, sender: Caller, settings: Settings) -> tuple[list[MeetingInput], bool]:
    """The meetings, and whether they were sent as a batch (of any number)."""
    value = _loads(body, settings)
    _check_items(value, settings)
    if not (isinstance(value, dict) and "meetings" in value):
        meeting = _meeting(_validated(MeetingRequest, value), sender, "project")
        _check_meeting(meeting, settings)
        return [meeting], False
    meetings = [
        _meeting(asked, sender, f"meetings.{index}.project")
        for index, asked in enumerate(_validated(BatchRequest, value).meetings)
    ]
    for index, meeting in enumerate(meetings):
        _check_meeting(meeting, settings, f"meetings.{index}.")
    return meetings, True


@dataclass(frozen=True, slots=True, kw_only=True)
class _Upload:
    """One uploaded file."""

    name: str
    content: bytes


async def _parse_form(request: Request, settings: Settings) -> tuple[list[_Upload], dict[str, str]]:
    try:
        async with request.form(
            max_files=settings.max_batch_meetings,
            max_fields=MAX_FORM_FIELDS,
            max_part_size=max(settings.max_metadata_bytes, MAX_FORM_FIELD_BYTES),
        ) as form:
            return await _read_form(form, settings.max_transcript_chars * BYTES_PER_CHARACTER)
    except HTTPException as error:
        # The parser's limits have no types of their own, only sentences.
        told = str(error.detail)
        kind = next((kind for start, kind in _FORM_LIMITS.items() if told.startswith(start)), MalformedBody)
        raise kind(told) from error
    except UnicodeError as error:
        # Some codecs (punycode, undefined) raise no UnicodeDecodeError, which alone the parser expects.
        raise MalformedBody(
            "The form cannot be read in the charset of its Content-Type. Send UTF-8."
        ) from error


async def _read_form(form: FormData, max_file_bytes: int) -> tuple[list[_Upload], dict[str, str]]:
    """The uploaded files and the text fields; what is unknown, twice or missing raises."""
    uploads: list[_Upload] = []
    fields: dict[str, str] = {}
    errors: list[FieldError] = []
    files = sum(isinstance(value, UploadFile) for _, value in form.multi_items())
    for name, value in form.multi_items():
        if isinstance(value, UploadFile) and (value.size or 0) > max_file_bytes:
            raise PartTooLarge(
                f"A file has {value.size} bytes; at most {max_file_bytes} are taken.",
                field=f"file.{len(uploads)}" if files > 1 else "file",
            )
        if isinstance(value, UploadFile) and name in _FILES:
            uploads.append(_Upload(name=value.filename or "", content=await value.read()))
        elif isinstance(value, str) and name in fields:
            errors.append(FieldError(field=name, rule="given twice", remedy="Give it once."))
        elif isinstance(value, str) and name in _FORM_FIELDS:
            fields[name] = value
        else:
            known = ", ".join(("file", *_FORM_FIELDS))
            kind = "file" if isinstance(value, UploadFile) else "form"
            errors.append(
                FieldError(
                    field=name[:80],
                    rule=f"unknown {kind} field; known are {known}",
                    remedy=f"Remove it, or use one of: {known}.",
                )
            )
    if not uploads:
        errors.append(FieldError(field="file", rule="no file was sent", remedy="Send one or several files."))
    if len(uploads) > 1:
        errors.extend(
            FieldError(
                field=name, rule="names one meeting, but several files were sent", remedy="Leave it out."
            )
            for name in _ONE_FILE_ONLY
            if name in fields
        )
    if errors:
        raise InvalidRequest(errors)
    return uploads, fields


def _from_files(
    uploads: Sequence[_Upload], fields: Mapping[str, str], sender: Caller, settings: Settings
) -> list[SourceFile]:
    common: dict[str, Any] = {name: value for name, value in fields.items() if value.strip()}
    if "participants" in common:
        common["participants"] = [name for name in common["participants"].split(",") if name.strip()]
    if "metadata" in common:
        common["metadata"] = _loads(common["metadata"].encode(), settings, "metadata")
    _check_items(common, settings)
    sources = []
    for index, upload in enumerate(uploads):
        with _told_of_file(f"file.{index}." if len(uploads) > 1 else "", common):
            text, warnings = decode(upload.content)
            asked = {"title": title_of(upload.name), **common, "transcript": text}
            meeting = _meeting(_validated(MeetingRequest, asked), sender, "project")
            _check_meeting(meeting, settings)
        sources.append(SourceFile(meeting=meeting, warnings=tuple(warnings)))
    return sources


@contextlib.contextmanager
def _told_of_file(prefix: str, common: Mapping[str, Any]) -> Iterator[None]:
    """What is refused inside names the file behind `prefix`, unless it is of the form's `common` fields."""

    def place(field: str) -> str:
        if field.partition(".")[0] in common:
            return field
        return f"{prefix}filename" if field == "title" else f"{prefix}{field}"

    try:
        yield
    except InvalidRequest as refusal:
        errors = [replace(error, field=place(error.field)) for error in refusal.errors]
        raise type(refusal)(errors) from None
    except InvalidInput as refusal:
        refusal.field = refusal.field and place(refusal.field)
        raise


def _meeting(asked: MeetingRequest, sender: Caller, field: str) -> MeetingInput:
    """The meeting in the project that it names, else in that of a sender who is bound to one."""
    check_projects(sender, [asked.project] if asked.project else [], field)
    return asked.meeting(sender.project or DEFAULT_PROJECT)


def _check_items(value: object, settings: Settings, prefix: str = "") -> None:
    """Raises for more keys or items than validation, which tells of each by itself, should be given."""
    if not isinstance(value, dict):
        return
    if len(value) > MAX_KEYS:
        where, rule = prefix.rstrip(".") or "body", f"has {len(value)} keys; at most {MAX_KEYS} are taken"
        raise TooManyKeys(
            [FieldError(field=where, rule=rule, remedy="Put what is your own into `metadata`.")]
        )
    participants, meetings = value.get("participants"), value.get("meetings")
    if isinstance(participants, list) and len(participants) > settings.max_participants:
        raise TooManyParticipants(
            f"participants has {len(participants)} names; at most {settings.max_participants} are taken",
            field=f"{prefix}participants",
        )
    if isinstance(meetings, list) and not prefix:
        if len(meetings) > settings.max_batch_meetings:
            raise TooManyMeetings(
                f"{len(meetings)} meetings; at most {settings.max_batch_meetings} are taken in one batch",
                field="meetings",
            )
        for index, meeting in enumerate(meetings):
            _check_items(meeting, settings, f"meetings.{index}.")


def _check_meeting(meeting: MeetingInput, settings: Settings, prefix: str = "") -> None:
    check_bounds(meeting, settings, prefix)
    check_format(meeting.format, f"{prefix}format")  # a batch is not read before its answer
    # In the body, or in its file, the transcript was one string.
    json = json_of(meeting.transcript, meeting.format)
    if json is not None:
        _check_shape(json.encode(), settings, f"{prefix}transcript")


def _check_shape(text: bytes, settings: Settings, field: str | None = None) -> None:
    check_json(text, max_depth=settings.max_json_depth, max_values=settings.max_json_values, field=field)


def _loads(text: bytes, settings: Settings, field: str | None = None) -> Any:
    """The value of the JSON in the body, or in a `field` of a form."""
    _check_shape(text, settings, field)
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise MalformedBody(f"{field or 'The body'} is not valid JSON: {error}.", field=field) from error


def _validated(model: type[Model], value: Any) -> Model:
    try:
        return model.model_validate(value)
    except ValidationError as error:
        errors = error.errors(include_url=False, include_input=False)
        raise invalid([{**each, "loc": ("body", *each["loc"])} for each in errors], {"body": model}) from None
