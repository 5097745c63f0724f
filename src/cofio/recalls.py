"""The line of questions: some are worked on, the others wait outside, where they cost nothing."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager

from cofio.errors import Overloaded


class Recalls:
    """`at_once` places, and `threads` for what their questions compute here; belongs to one event loop."""

    def __init__(self, *, at_once: int, threads: int, wait_s: float) -> None:
        self.at_once = at_once
        self._places = asyncio.Semaphore(at_once)
        self._wait_s = wait_s
        self.threads = ThreadPoolExecutor(threads, thread_name_prefix="recall")
        self._closed = False
        self.waiting = 0
        """How many questions wait for a place."""

    async def aclose(self) -> None:
        """Every question that has its turn is answered, and the threads have ended; closing twice is harmless."""
        if self._closed:
            return
        self._closed = True
        try:
            for _ in range(self.at_once):
                await self._places.acquire()
        finally:
            # A question whose caller has left gives its place away while a thread still works for it.
            await asyncio.to_thread(self.threads.shutdown)

    @asynccontextmanager
    async def place(self) -> AsyncIterator[None]:
        """The question has a place inside the block; who waits longest is the next. Raises `Overloaded` after `wait_s`."""
        await self._take()
        try:
            yield
        finally:
            self._places.release()

    async def _take(self) -> None:
        self.waiting += 1
        try:
            async with asyncio.timeout(self._wait_s):
                await self._places.acquire()
        except TimeoutError as error:
            raise Overloaded(
                f"The question waited {self._wait_s:g} s for its turn; try again later."
            ) from error
        finally:
            self.waiting -= 1
