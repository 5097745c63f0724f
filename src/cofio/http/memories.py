"""GET /api/v2/memories: one memory with its neighbours."""

from __future__ import annotations

from fastapi import APIRouter, Response

from cofio import maintain
from cofio.errors import NotFound, Unavailable
from cofio.http.problems import describe
from cofio.http.state import OpenRuntime, Sender
from cofio.http.wire import answer
from cofio.records import MemoryDetail

router = APIRouter(prefix="/api/v2/memories", tags=["memories"])


@router.get(
    "/{memory_id}",
    summary="One memory with its features and its neighbours in the graph",
    response_model=None,
    responses={200: {"model": MemoryDetail}, **describe(NotFound, Unavailable)},
)
async def get_memory(memory_id: str, runtime: OpenRuntime, sender: Sender) -> Response:
    """The memory of any level under this id."""
    return answer(await maintain.get_memory(runtime, memory_id, project=sender.project))
