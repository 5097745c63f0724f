"""/admin: what only who runs the service may do."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from fastapi import APIRouter, Response
from pydantic import Field

from cofio import backups
from cofio.backups import Backup
from cofio.data_dir import backup_dir
from cofio.errors import BackupUnderWay, Unavailable
from cofio.http.problems import InvalidRequest, MalformedBody, describe
from cofio.http.schemas import Body
from cofio.http.state import OpenRuntime
from cofio.http.wire import answer

router = APIRouter(prefix="/admin", tags=["admin"])


class BackupRequest(Body):
    """How a backup is made."""

    keep: int | None = Field(
        default=None, ge=1, description="Remove all but so many of the newest backups afterwards."
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
        **describe(MalformedBody, InvalidRequest, BackupUnderWay, Unavailable),
    },
)
async def create_backup(runtime: OpenRuntime, asked: BackupRequest | None = None) -> Response:
    """A backup lies in `backup_dir`."""
    settings = runtime.settings
    made = await asyncio.to_thread(
        backups.create_backup, settings.data_dir, backup_dir(settings), keep=asked.keep if asked else None
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
