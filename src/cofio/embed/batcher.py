"""Encoding off the event loop: questions first, imports in small pieces between them."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final

import numpy as np

from cofio.embed.onnx import TextEncoder
from cofio.errors import EncoderUnavailable, Overloaded
from cofio.records import Float32s

# A piece of an import holds a worker for some twenty milliseconds: so long may a question have to wait. With 16
# texts and 1,600 characters a question during an import took 45 ms (p95 110), with these 14 ms (p95 32), and the
# import was no slower.
PIECE_CHARS: Final = 400
PIECE_TEXTS: Final = 4
# Questions that arrive together share one call of the encoder, up to so many.
SHARED_QUESTIONS: Final = 32


@dataclass(frozen=True, slots=True, eq=False)
class _Job:
    texts: Sequence[str]
    done: asyncio.Future[Float32s]


class Batcher:
    """Feeds one encoder from two queues with its own threads; belongs to the event loop that made it."""

    def __init__(self, encoder: TextEncoder, *, workers: int, max_pending_texts: int) -> None:
        self._encoder = encoder
        self._max_pending = max_pending_texts
        self._urgent: deque[_Job] = deque()
        self._bulk: deque[_Job] = deque()
        self._work = asyncio.Condition()
        self._closing = False
        self._threads = ThreadPoolExecutor(workers, thread_name_prefix="encode")
        self._workers = [asyncio.create_task(self._run(), name=f"encode-{i}") for i in range(workers)]

    @property
    def pending(self) -> int:
        """How many texts wait to be encoded."""
        return sum(len(job.texts) for lane in (self._urgent, self._bulk) for job in lane)

    async def encode(
        self, texts: Sequence[str], *, urgent: bool, on_progress: Callable[[int], None] | None = None
    ) -> Float32s:
        """One unit vector a text, float32 (n, 384), in the order of `texts`.

        Urgent texts go before all others; where more than `max_pending_texts` of them wait already, raises
        `Overloaded` at once. `on_progress` is told the number of texts of every finished piece. Raises
        `EncoderUnavailable` if the encoder fails on one of the texts, or is closed.
        """
        if self._closing:
            raise EncoderUnavailable("The encoder is shutting down.")
        if urgent and sum(len(job.texts) for job in self._urgent) + len(texts) > self._max_pending:
            raise Overloaded("Too many questions wait for the encoder; try again in a second.")
        pieces = [texts] if urgent else list(_pieces(texts))
        loop = asyncio.get_running_loop()
        jobs = [_Job(piece, loop.create_future()) for piece in pieces]
        for job in jobs:
            if on_progress is not None:
                job.done.add_done_callback(_reporter(on_progress, len(job.texts)))
        (self._urgent if urgent else self._bulk).extend(jobs)
        async with self._work:
            self._work.notify(len(jobs))
        try:
            vectors = await asyncio.gather(*(job.done for job in jobs))
        finally:
            # The caller is gone or one piece has failed: nobody waits for the rest.
            for job in jobs:
                job.done.cancel()
        return np.concatenate(vectors) if vectors else np.empty((0, self._encoder.dimension), np.float32)

    async def aclose(self) -> None:
        """The threads have ended; what still waited has failed with `EncoderUnavailable`."""
        self._closing = True
        for worker in self._workers:
            worker.cancel()
        await asyncio.gather(*self._workers, return_exceptions=True)
        for job in (*self._urgent, *self._bulk):
            if not job.done.done():
                job.done.set_exception(EncoderUnavailable("The encoder is shutting down."))
        self._urgent.clear()
        self._bulk.clear()
        await asyncio.to_thread(self._threads.shutdown)

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            async with self._work:
                await self._work.wait_for(lambda: bool(self._urgent or self._bulk))
                jobs = self._take()
            if not jobs:
                continue
            texts = [text for job in jobs for text in job.texts]
            try:
                vectors = await loop.run_in_executor(self._threads, self._encoder.encode, texts)
            except asyncio.CancelledError:
                for job in jobs:
                    if not job.done.done():
                        job.done.set_exception(EncoderUnavailable("The encoder is shutting down."))
                raise
            except Exception as error:  # noqa: BLE001  whatever the encoder raised must reach those who wait
                for job in jobs:
                    if not job.done.done():
                        failure = EncoderUnavailable("The encoder failed on this text.")
                        failure.__cause__ = error
                        job.done.set_exception(failure)
                continue
            at = 0
            for job in jobs:
                if not job.done.done():
                    job.done.set_result(vectors[at : at + len(job.texts)])
                at += len(job.texts)

    def _take(self) -> list[_Job]:
        """The jobs of the next call: all questions that wait, or one piece of an import."""
        jobs: list[_Job] = []
        while self._urgent and len(jobs) < SHARED_QUESTIONS:
            job = self._urgent.popleft()
            if not job.done.done():
                jobs.append(job)
        while self._bulk and not jobs:
            job = self._bulk.popleft()
            if not job.done.done():
                jobs.append(job)
        return jobs


def _pieces(texts: Sequence[str]) -> Iterator[Sequence[str]]:
    start = chars = 0
    for i, text in enumerate(texts):
        if i > start and (chars + len(text) > PIECE_CHARS or i - start == PIECE_TEXTS):
            yield texts[start:i]
            start, chars = i, 0
        chars += len(text)
    if start < len(texts):
        yield texts[start:]


def _reporter(on_progress: Callable[[int], None], count: int) -> Callable[[asyncio.Future[Float32s]], None]:
    def report(done: asyncio.Future[Float32s]) -> None:
        if not done.cancelled() and done.exception() is None:
            on_progress(count)

    return report
