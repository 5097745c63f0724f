"""Work that goes on behind the requests for as long as the service is open."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from typing import Any, Final

import structlog

_log: Final = structlog.get_logger(__name__)


@asynccontextmanager
async def going_on(name: str, work: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    """`work`, which has no end of its own, goes on inside the block and is over after it.

    An error that ends it before is logged at once, so that whoever watches the service learns of work that stands still;
    the end of the block raises it.
    """
    task = asyncio.create_task(work, name=name)
    task.add_done_callback(_tell)
    try:
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


def _tell(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and (error := task.exception()) is not None:
        _log.error("background_work_ended", task=task.get_name(), exc_info=error)
