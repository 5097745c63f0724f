"""A circuit breaker: who does not answer is asked no more, until somebody in the background found that it does again.

Own code, because the libraries (purgatory, pybreaker, circuitbreaker) let users' calls find out after a pause, each
of which waits for its deadline once more. Here a call is either answered or refused at once, and the pauses with
jitter between the tries of the background are tenacity's.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator
from typing import Final

import structlog

from cofio.errors import VectorStoreUnavailable
from cofio.telemetry.metrics import INDEX_BREAKER_OPENINGS

# One failure may be an engine that died and is there again with the next call; three in a row are none.
FAILURES: Final = 3

_log = structlog.get_logger(__name__)


class Breaker:
    """Stands before the vector store: *closed* while calls may go through, *open* while they may not.

    It opens after `FAILURES` calls and probes that failed, each kind in a row, or when it is told to, and closes only when it is told to.
    """

    def __init__(self) -> None:
        self._failures: Counter[str] = Counter()  # in a row, of calls and of probes
        self._opened = asyncio.Event()
        self.reason: str | None = None
        """Why it is open, None while it is closed."""

    @contextlib.asynccontextmanager
    async def calling(self, wait_s: float | None = None) -> AsyncIterator[None]:
        """The block's calls are counted as one, which fails where it raises `VectorStoreUnavailable` or takes `wait_s`.

        Raises `VectorStoreUnavailable`: at once while the breaker is open, for a block that took too long, and
        what the block itself raised.
        """
        async with self._counted("calls", wait_s):
            yield
        self._failures.clear()

    @contextlib.asynccontextmanager
    async def probing(self, wait_s: float) -> AsyncIterator[None]:
        """As `calling`, but with a count of its own: a store may tell its size at once, and find nothing in time.

        So those who watch it, however often, keep no breaker closed for those who search; yet their failures open it too.
        """
        async with self._counted("probes", wait_s):
            yield

    @contextlib.asynccontextmanager
    async def _counted(self, kind: str, wait_s: float | None) -> AsyncIterator[None]:
        self._refuse_while_open()
        try:
            async with _within(wait_s):
                yield
        except VectorStoreUnavailable as error:
            self._failures[kind] += 1
            if self._failures.total() >= FAILURES:
                self.open(error.detail)
            raise
        self._failures[kind] = 0

    def open(self, reason: str) -> None:
        """No call goes through any more."""
        if self.reason is None:
            INDEX_BREAKER_OPENINGS.inc()
            _log.warning("vector_store_left_alone", reason=reason)
        self.reason = reason
        self._opened.set()

    def close(self) -> None:
        """Calls go through again."""
        if self.reason is not None:
            _log.info("vector_store_answers_again")
        self._failures.clear()
        self.reason = None
        self._opened.clear()

    async def opened(self) -> None:
        """Returns once the breaker is open."""
        await self._opened.wait()

    def _refuse_while_open(self) -> None:
        if self.reason is not None:
            raise VectorStoreUnavailable(
                f"The vector store is left alone until it answers again: {self.reason}"
            )


@contextlib.asynccontextmanager
async def _within(wait_s: float | None) -> AsyncIterator[None]:
    try:
        async with asyncio.timeout(wait_s):
            yield
    except TimeoutError as error:
        raise VectorStoreUnavailable(f"The vector store did not answer within {wait_s:g} s.") from error
