"""Work that goes on behind the requests for as long as the service is open."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any, Final

import structlog
from tenacity import AsyncRetrying, RetryCallState, retry_if_exception_type, wait_random_exponential

from cofio.telemetry.metrics import BACKGROUND_FAILURES

PAUSE_S: Final = 1.0
LONGEST_PAUSE_S: Final = 60.0

Begin = Callable[[], Coroutine[Any, Any, None]]

_log: Final = structlog.get_logger(__name__)


@asynccontextmanager
async def going_on(name: str, begin: Begin, *, pause_s: float = PAUSE_S) -> AsyncIterator[None]:
    """The work that `begin` begins, which has no end of its own, goes on inside the block and is over after it.

    An error that it did not expect is logged and counted at once, and it is begun again: after `pause_s` at most, then after ever
    longer pauses.
    """
    task = asyncio.create_task(_again_and_again(name, begin, pause_s), name=name)
    try:
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def _again_and_again(name: str, begin: Begin, pause_s: float) -> None:
    failures = BACKGROUND_FAILURES.labels(name)  # told from the start on, at zero

    def tell(state: RetryCallState) -> None:
        error = state.outcome.exception() if state.outcome is not None else None
        failures.inc()
        _log.error("background_work_broke", task=name, exc_info=error)

    attempts = AsyncRetrying(
        retry=retry_if_exception_type(Exception),
        wait=wait_random_exponential(multiplier=pause_s, max=LONGEST_PAUSE_S),
        before_sleep=tell,
    )
    await attempts(begin)
