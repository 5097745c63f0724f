"""GET /operations: what became of a batch, asked for or streamed."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Annotated

from fastapi import APIRouter, Depends, Response
from fastapi.sse import EventSourceResponse, ServerSentEvent

from cofio import batches
from cofio.errors import NotFound, Overloaded, Unavailable
from cofio.http.problems import describe
from cofio.http.state import OpenRuntime, Sender, StillAdmitted
from cofio.http.wire import answer, to_json
from cofio.records import Operation

router = APIRouter(prefix="/operations", tags=["ingest"])


async def _known(runtime: OpenRuntime, sender: Sender, operation_id: str) -> Operation:
    # As a dependency it raises before the stream begins, when the answer can still be a problem.
    return await batches.operation(runtime, operation_id, project=sender.project)


KnownOperation = Annotated[Operation, Depends(_known)]


@router.get(
    "/{operation_id}",
    summary="Status of a batch, with a result per meeting",
    response_model=None,
    responses={200: {"model": Operation}, **describe(NotFound, Unavailable)},
)
async def get_operation(operation: KnownOperation) -> Response:
    """The batch as it stands now."""
    return answer(operation)


@router.get(
    "/{operation_id}/events",
    summary="Progress of a batch as server-sent events",
    description=(
        "An event `progress` whenever something changed, its `results` holding only the meetings that were "
        "done since the event before; at the end one event `finished` with all results. Comments keep the "
        "connection alive in between. When the key is revoked or expires, the stream ends."
    ),
    response_class=EventSourceResponse,
    responses=describe(NotFound, Overloaded, Unavailable),
)
async def stream_operation(
    runtime: OpenRuntime, operation: KnownOperation, still_admitted: StillAdmitted
) -> AsyncIterator[ServerSentEvent]:
    """The batch whenever it changed, until it is finished or the sender is no longer let in."""
    told: set[int] = set()
    number = 0
    async for current in batches.watch(runtime, operation.operation_id, wanted=still_admitted):
        number += 1
        if current.finished_at is not None:
            event, news = "finished", current
        else:
            done = tuple(item for item in current.results if item.status != "pending")
            event = "progress"
            news = replace(current, results=tuple(item for item in done if item.index not in told))
            told.update(item.index for item in done)
        yield ServerSentEvent(event=event, id=str(number), raw_data=to_json(news).decode())
