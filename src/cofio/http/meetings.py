"""/api/v2/meetings: what was ingested, page by page, one by one, and its deletion."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Response
from pydantic import Field

from cofio import maintain
from cofio.errors import InvalidInput, NotFound, Unavailable
from cofio.http.problems import FieldTooLong, InvalidRequest, describe
from cofio.http.projects import check_projects
from cofio.http.schemas import Body, Name
from cofio.http.state import Actor, OpenRuntime, Sender
from cofio.http.wire import answer
from cofio.records import Deletion, MeetingPage, MeetingSummary
from cofio.store.meetings import CURSOR

router = APIRouter(prefix="/api/v2/meetings", tags=["meetings"])


class PageRequest(Body):
    """Which page of which meetings."""

    limit: int = Field(default=50, ge=1, le=200, description="Meetings on the page at most.")
    cursor: str | None = Field(
        default=None,
        pattern=f"^{CURSOR}$",
        description="`next_cursor` of the page before; without it, the first page.",
    )
    project: Name | None = Field(default=None, description="Only meetings of this project.")
    series: Name | None = Field(default=None, description="Only meetings of this series.")


@router.get(
    "",
    summary="Meetings, newest first",
    response_model=None,
    responses={
        200: {"model": MeetingPage},
        **describe(InvalidRequest, FieldTooLong, InvalidInput, Unavailable),
    },
)
async def list_meetings(
    runtime: OpenRuntime, sender: Sender, page: Annotated[PageRequest, Query()]
) -> Response:
    """One page of the meetings."""
    check_projects(sender, [page.project] if page.project else [], "project")
    found = await maintain.list_meetings(
        runtime,
        limit=page.limit,
        cursor=page.cursor,
        project=sender.project or page.project,
        series=page.series,
    )
    return answer(found)


@router.get(
    "/{meeting_id}",
    summary="One meeting",
    response_model=None,
    responses={200: {"model": MeetingSummary}, **describe(NotFound, Unavailable)},
)
async def get_meeting(meeting_id: str, runtime: OpenRuntime, sender: Sender) -> Response:
    """The meeting under this id."""
    return answer(await maintain.get_meeting(runtime, meeting_id, project=sender.project))


@router.delete(
    "/{meeting_id}",
    summary="Forget a meeting",
    description="Nothing of it stays in any store, edges and concepts that only it held up included.",
    response_model=None,
    responses={200: {"model": Deletion}, **describe(NotFound, Unavailable)},
)
async def delete_meeting(meeting_id: str, runtime: OpenRuntime, sender: Sender, actor: Actor) -> Response:
    """The meeting is gone, and what was removed is told."""
    return answer(await maintain.delete_meeting(runtime, meeting_id, project=sender.project, actor=actor))
