"""/admin: what only who runs the service may do."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Annotated, Final

from fastapi import APIRouter, Query, Response
from fastapi.responses import StreamingResponse
from pydantic import BeforeValidator, Field, Strict
from starlette.concurrency import iterate_in_threadpool

from cofio import backups, erasure, maintain, transfer
from cofio.backups import Backup
from cofio.data_dir import backup_dir
from cofio.erasure import Erasure
from cofio.errors import BackupUnderWay, MeetingsWaiting, NotFound, Unavailable
from cofio.http.problems import BodyTooSlow, InvalidRequest, MalformedBody, describe
from cofio.http.schemas import Body, Name, whole
from cofio.http.state import Actor, OpenRuntime, StillAdmitted
from cofio.http.wire import answer
from cofio.store.audit import AuditPage
from cofio.store.exports import Export

router = APIRouter(prefix="/admin", tags=["admin"])

LARGEST_ENTRY: Final = 2**63 - 1  # SQLite's largest number of a row


class BackupRequest(Body):
    """How a backup is made."""

    keep: Annotated[int, Field(ge=1), Strict(), BeforeValidator(whole)] | None = Field(
        default=None, description="Remove all but so many of the newest backups afterwards."
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Backups:
    """The backups of this service, the newest first."""

    backups: tuple[Backup, ...]


@router.post(
    "/backups",
    summary="Make a backup",
    description=(
        "What was acknowledged before the request is saved, while the service goes on. The answer comes when the "
        "backup is complete and on the disk (some seconds for 100,000 memories); it is also made if the client leaves."
    ),
    status_code=201,
    response_model=None,
    responses={
        201: {"model": Backup, "description": "The backup is complete."},
        **describe(MalformedBody, BodyTooSlow, InvalidRequest, BackupUnderWay, Unavailable),
    },
)
async def create_backup(runtime: OpenRuntime, actor: Actor, asked: BackupRequest | None = None) -> Response:
    """A backup lies in `backup_dir`."""
    settings = runtime.settings
    made = await asyncio.to_thread(
        backups.create_backup,
        settings.data_dir,
        backup_dir(settings),
        keep=asked.keep if asked else None,
        actor=actor,
    )
    return answer(made, status=201)


@router.get(
    "/backups",
    summary="List the backups",
    response_model=None,
    responses={200: {"model": Backups}, **describe(Unavailable)},
)
async def list_backups(runtime: OpenRuntime) -> Response:
    """Every backup in `backup_dir` with its manifest."""
    found = await asyncio.to_thread(backups.list_backups, backup_dir(runtime.settings))
    return answer(Backups(backups=found))


class SpeakerRequest(Body):
    """Which of the speakers of one name are meant."""

    project: Name | None = Field(
        default=None, description="Only in this project; without it, in all of them."
    )


@router.delete(
    "/speakers/{name:path}",
    summary="Erase a speaker",
    description=(
        "Everything that somebody of this name said is removed, and what was made of it; the meetings are made again "
        "from what the others said, without this participant. What others said about them stays, and is counted. The "
        "answer tells what was looked for afterwards, in every store, and found: nothing."
    ),
    response_model=None,
    responses={
        200: {"model": Erasure},
        **describe(InvalidRequest, NotFound, MeetingsWaiting, Unavailable),
    },
)
async def erase_speaker(
    name: str, runtime: OpenRuntime, actor: Actor, asked: Annotated[SpeakerRequest, Query()]
) -> Response:
    """The speaker is gone, and what was removed is told."""
    return answer(await erasure.erase_speaker(runtime, name, project=asked.project, actor=actor))


@router.delete(
    "/projects/{project:path}",
    summary="Erase a project",
    description="Its meetings, memories and concepts are removed, and what accepted batches still hold of it.",
    response_model=None,
    responses={200: {"model": Erasure}, **describe(NotFound, Unavailable)},
)
async def erase_project(project: str, runtime: OpenRuntime, actor: Actor) -> Response:
    """The project is gone, and what was removed is told."""
    return answer(await erasure.erase_project(runtime, project, actor=actor))


class AuditRequest(Body):
    """Which entries of the audit."""

    limit: int = Field(default=50, ge=1, le=500, description="Entries at most.")
    before: int | None = Field(
        default=None,
        ge=1,
        le=LARGEST_ENTRY,
        description="`next_before` of the page before; without it, the latest entries.",
    )


@router.get(
    "/audit",
    summary="Who did what to the store",
    description=(
        "Deletions, erasures, exports, imports, backups, restores, rebuilds, and keys that were made or revoked, the latest "
        "first: ids, pseudonyms and numbers, never what was said."
    ),
    response_model=None,
    responses={200: {"model": AuditPage}, **describe(InvalidRequest, Unavailable)},
)
async def list_audit(runtime: OpenRuntime, asked: Annotated[AuditRequest, Query()]) -> Response:
    """One page of the audit."""
    return answer(await maintain.list_audit(runtime, limit=asked.limit, before=asked.before))


class ExportRequest(Body):
    """What is exported."""

    project: Name | None = Field(default=None, description="Only this project; without it, everything.")


@router.get(
    "/export",
    summary="Everything that is remembered, as JSON lines",
    description=(
        "A line `export` with version, encoder and counts; then each `meeting` with its `episode`, `context`, `edge` and "
        "`mention` lines, then every `concept`; at last `end` with the number and the SHA-256 of the lines before it, so "
        "that what was cut off is seen. It is of one state of the memory. `cofio import` takes it in elsewhere. When the key is revoked or expires, the lines "
        "end, without `end`; so they do where they are not read for 30 s."
    ),
    response_class=StreamingResponse,
    responses={
        200: {"content": {"application/x-ndjson": {}}, "description": "The lines."},
        **describe(InvalidRequest, BackupUnderWay, Unavailable),
    },
)
async def export(
    runtime: OpenRuntime,
    actor: Actor,
    asked: Annotated[ExportRequest, Query()],
    still_admitted: StillAdmitted,
) -> StreamingResponse:
    """The lines are made while they are sent, as long as the sender is let in."""
    opened = await asyncio.to_thread(transfer.open_export, runtime.settings, asked.project, actor=actor)
    return StreamingResponse(_while(still_admitted, opened), media_type="application/x-ndjson")


async def _while(admitted: Callable[[], bool], export: Export) -> AsyncIterator[bytes]:
    """The export's chunks until its end, or until the sender is no longer `admitted`."""
    with contextlib.closing(export.chunks()) as chunks:
        async for chunk in iterate_in_threadpool(chunks):
            if not admitted():
                return
            yield chunk
