"""Encoding off the event loop: questions first, imports in small pieces between them."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final

import numpy as np
import structlog

from cofio.embed.onnx import SessionFailed, TextEncoder
from cofio.errors import EncoderUnavailable, InvalidVector, Overloaded
from cofio.records import Float32s
from cofio.telemetry.metrics import ENCODER_BATCH_SECONDS, ENCODER_BATCH_TEXTS
from cofio.vector_rules import are_unit

_log: Final = structlog.get_logger(__name__)

# So many calls for questions in a row while an import waits; then one of its pieces has its turn, so that a storm of
# questions slows imports down but does not stop them.
PASSES: Final = 4
# Pieces of imports that a thread encodes in a row while nothing else comes: to fetch each from the event loop takes a tenth
# of the time (five times four meetings: 22.1 and 22.7 s one by one, 19.9 and 20.5 by eights, 19.2 and 19.7 without end).
IN_A_ROW: Final = 8


@dataclass(frozen=True, slots=True, eq=False)
class _Job:
    texts: Sequence[str]
    urgent: bool
    done: asyncio.Future[Float32s]
    lane: deque[_Job]  # of the call of `encode` that it is a part of


@dataclass(frozen=True, slots=True, kw_only=True)
class _Made:
    """What one call of the encoder gave, or why it failed."""

    vectors: Float32s | None
    error: Exception | None
    seconds: float


class Batcher:
    """Feeds one encoder from two queues with its own threads; belongs to the event loop that made it."""

    def __init__(self, encoder: TextEncoder, *, workers: int, max_wait_s: float) -> None:
        self._encoder = encoder
        self._max_wait_s = max_wait_s
        self._urgent: deque[_Job] = deque()
        self._imports: deque[deque[_Job]] = deque()  # one a call of `encode`; each has a turn, then goes last
        self._passed = 0
        self._calls = 0  # of `encode`
        self._work = asyncio.Condition()
        self._closing = False
        self.last_call_s: float | None = None
        """Seconds of the last call of the encoder that succeeded; None before the first."""
        self.last_failure: str | None = None
        """Why the last call failed; None if it did not."""
        self._threads = ThreadPoolExecutor(workers, thread_name_prefix="encode")
        self._workers = [asyncio.create_task(self._run(), name=f"encode-{i}") for i in range(workers)]

    @property
    def pending_questions(self) -> int:
        """How many urgent texts wait to be encoded."""
        return _waiting(self._urgent)

    @property
    def pending_imports(self) -> int:
        """How many other texts wait to be encoded."""
        return sum(map(_waiting, self._imports))

    async def encode(
        self, texts: Sequence[str], *, urgent: bool, on_progress: Callable[[int], None] | None = None
    ) -> Float32s:
        """One unit vector a text, float32 (n, 384), in the order of `texts`.

        Urgent texts go before all others; where they are not encoded within `max_wait_s`, raises `Overloaded`. How many may
        wait is bounded by who asks (`cofio.recalls`). `on_progress` is told the number of texts of every finished
        piece. Raises `EncoderUnavailable` if the encoder fails on one of the texts, or is closed.
        """
        if self._closing:
            raise EncoderUnavailable("The encoder is shutting down.")
        pieces: Sequence[Sequence[int]] = [range(len(texts))]
        if not urgent:
            try:
                pieces = await asyncio.to_thread(self._encoder.pieces, texts)
            except Exception as error:
                raise EncoderUnavailable("The encoder failed on one of the texts.") from error
            if self._closing:
                raise EncoderUnavailable("The encoder is shutting down.")
        loop = asyncio.get_running_loop()
        lane: deque[_Job] = deque()
        lane.extend(_Job([texts[i] for i in piece], urgent, loop.create_future(), lane) for piece in pieces)
        jobs = tuple(lane)
        for job in jobs:
            if on_progress is not None:
                job.done.add_done_callback(_reporter(on_progress, len(job.texts)))
        if urgent:
            self._urgent.extend(jobs)
        else:
            self._imports.append(lane)
        self._calls += 1
        async with self._work:
            self._work.notify(len(jobs))
        try:
            async with asyncio.timeout(self._max_wait_s if urgent else None):
                encoded = await asyncio.gather(*(job.done for job in jobs))
        except TimeoutError as error:
            raise Overloaded(
                f"The question waited {self._max_wait_s:g} s for the encoder; try again later."
            ) from error
        finally:
            # The caller is gone or one piece has failed: nobody waits for the rest.
            for job in jobs:
                job.done.cancel()
        vectors = np.empty((len(texts), self._encoder.dimension), np.float32)
        for piece, part in zip(pieces, encoded, strict=True):
            vectors[piece] = part
        return vectors

    async def aclose(self) -> None:
        """The threads have ended; what still waited has failed with `EncoderUnavailable`."""
        self._closing = True
        for worker in self._workers:
            worker.cancel()
        await asyncio.gather(*self._workers, return_exceptions=True)
        for lane in (self._urgent, *self._imports):
            for job in lane:
                if not job.done.done():
                    job.done.set_exception(EncoderUnavailable("The encoder is shutting down."))
        self._urgent.clear()
        self._imports.clear()
        await asyncio.to_thread(self._threads.shutdown)

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            async with self._work:
                await self._work.wait_for(lambda: bool(self._urgent or self._imports))
                calls = self._take()
            if not calls:
                continue
            try:
                made = await loop.run_in_executor(self._threads, self._make, calls, self._calls)
            except asyncio.CancelledError:
                for job in (job for jobs in calls for job in jobs):
                    if not job.done.done():
                        job.done.set_exception(EncoderUnavailable("The encoder is shutting down."))
                raise
            for jobs, one in zip(calls, made, strict=False):
                self._tell(jobs, one)
            if left := [job for jobs in calls[len(made) :] for job in jobs]:
                async with self._work:
                    for job in reversed(left):
                        self._put_back(job)
                    self._work.notify(len(left))

    def _make(self, calls: Sequence[Sequence[_Job]], since: int) -> list[_Made]:
        """The calls one after the other, in a thread; after the first no more if others came `since` so many had."""
        made: list[_Made] = []
        for jobs in calls:
            if made and (self._calls != since or self._urgent or self._closing):
                break
            started = time.perf_counter()
            vectors: Float32s | None = None
            failure: Exception | None = None
            try:
                vectors = _encoded(self._encoder, [text for job in jobs for text in job.texts])
            except Exception as error:  # noqa: BLE001  whatever the encoder raised must reach those who wait
                failure = error
            made.append(_Made(vectors=vectors, error=failure, seconds=time.perf_counter() - started))
        return made

    def _tell(self, jobs: Sequence[_Job], made: _Made) -> None:
        """Those who wait for the jobs of one call have its vectors, or know that it failed."""
        if made.vectors is None:
            if self.last_failure is None:  # told once until it works again
                # Another error may hold a text.
                error = made.error
                reason = str(error) if isinstance(error, SessionFailed) else type(error).__name__
                _log.error("encoder_failed", reason=reason)
            self.last_failure = EncoderUnavailable.title()
            for job in jobs:
                if not job.done.done():
                    failure = EncoderUnavailable("The encoder failed on this text.")
                    failure.__cause__ = made.error
                    job.done.set_exception(failure)
            return
        self.last_failure = None
        self.last_call_s = made.seconds
        kind = "question" if jobs[0].urgent else "import"
        ENCODER_BATCH_TEXTS.labels(kind).observe(len(made.vectors))
        ENCODER_BATCH_SECONDS.labels(kind).observe(made.seconds)
        at = 0
        for job in jobs:
            if not job.done.done():
                job.done.set_result(made.vectors[at : at + len(job.texts)])
            at += len(job.texts)

    def _take(self) -> list[list[_Job]]:
        """The next calls: one of a worker's share of the questions that wait, or some of a piece of an import each."""
        while self._urgent and self._urgent[0].done.done():  # whoever asked has left
            self._urgent.popleft()
        if self._imports and (not _waiting(self._urgent) or self._passed >= PASSES):
            self._passed = 0
            pieces: list[list[_Job]] = []
            share = min(IN_A_ROW, -(-sum(map(len, self._imports)) // len(self._workers)))
            while len(pieces) < share and (piece := self._next_piece()):
                pieces.append([piece])
            if pieces:
                return pieces
        # The workers share the questions: all of them in one call would leave the others without.
        share = min(self._encoder.questions, -(-len(self._urgent) // len(self._workers)))
        jobs: list[_Job] = []
        while self._urgent and len(jobs) < share:
            job = self._urgent.popleft()
            if not job.done.done():
                jobs.append(job)
        if jobs and self._imports:
            self._passed += 1
        return [jobs] if jobs else []

    def _put_back(self, job: _Job) -> None:
        """The piece of an import is the next of its call again, and its call the first in line."""
        job.lane.appendleft(job)
        others = [lane for lane in self._imports if lane is not job.lane]
        self._imports = deque((job.lane, *others))

    def _next_piece(self) -> _Job | None:
        """The next piece of the import whose turn it is; the import is the last in line then."""
        while self._imports:
            lane = self._imports.popleft()
            while lane:
                job = lane.popleft()
                if not job.done.done():
                    if lane:
                        self._imports.append(lane)
                    return job
        return None


def _encoded(encoder: TextEncoder, texts: Sequence[str]) -> Float32s:
    vectors = encoder.encode(texts)
    if vectors.shape != (len(texts), encoder.dimension) or not are_unit(vectors).all():
        raise InvalidVector(
            "The encoder gave a vector that is not finite, or whose norm is not 1.", field="vector"
        )
    return vectors


def _waiting(lane: Iterable[_Job]) -> int:
    return sum(len(job.texts) for job in lane if not job.done.done())


def _reporter(on_progress: Callable[[int], None], count: int) -> Callable[[asyncio.Future[Float32s]], None]:
    def report(done: asyncio.Future[Float32s]) -> None:
        if not done.cancelled() and done.exception() is None:
            on_progress(count)

    return report
