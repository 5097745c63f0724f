"""The vector index on Qdrant Edge, the embedded engine, in a process of its own.

Every call of Edge holds the interpreter's lock (measured on 0.9.0), so the engine lives in a child process,
spoken to over a socket pair (`vectors_edge_child`, `vectors_edge_process`).

Edge scans new points exactly until `optimize()` is called, which builds HNSW graphs and blocks its process for
minutes. So that happens beside: the stored generation is copied, a process of low priority indexes the copy, the
writes that came meanwhile are brought over, and the new generation takes the place of the old (`generations`).
"""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final, Self, TypeVar, cast

import structlog
from tenacity import AsyncRetrying, retry_if_exception_type, stop_after_delay, wait_random_exponential

from cofio.errors import StoreInUse, VectorStoreUnavailable
from cofio.records import VECTOR_DIMENSIONS, Filters, Float32s, Level
from cofio.store import generations
from cofio.store import vectors_edge_child as child
from cofio.store.durable import sync_all
from cofio.store.vectors import (
    COLLECTIONS,
    DATE_FIELD,
    HNSW,
    KEYWORD_FIELDS,
    Coverage,
    Hit,
    Point,
    check_ids,
    checked_limits,
    checked_points,
    checked_query,
    chunks,
    conditions,
)
from cofio.store.vectors_edge_journal import Journal
from cofio.store.vectors_edge_process import REBUILD, Process, ProcessDied

UPSERT_POINTS: Final = 128  # points a request: 10 to 20 ms, so that searches slip in between
DELETE_POINTS: Final = 4096
SCROLL_POINTS: Final = 10_000
LOCK_WAIT_S: Final = 5.0  # how long a directory may stay locked, by an engine that is just dying
OPENING_WAIT_S: Final = 600.0  # a log that was never flushed is replayed as a whole
REPLY_WAIT_S: Final = 10.0
LONG_WAIT_S: Final = 120.0  # for what reads or writes whole files

INDEXING_POINTS: Final = 10_000  # that many are scanned in about a millisecond
INDEXING_SHARE: Final = 0.02  # of all points; a large index is copied and merged less often
LOOKS: Final = 8  # how often one looks whether to index, while `indexing_points` are written
BUILD_WAIT_S: Final = 6 * 3600.0
BUILDER_NICENESS: Final = 15
RETRY_S: Final = 30.0
LONGEST_RETRY_S: Final = 3600.0

T = TypeVar("T")

_log = structlog.get_logger(__name__)


class EdgeIndex:
    """An open index under one directory, which one process at a time may hold.

    When the engine's process dies, calls in flight raise `VectorStoreUnavailable`; the next call starts it
    again. What an upsert or deletion acknowledged survives that, and the death of everything at any time while an
    index is built. A build that fails is told in the log and tried again later.
    """

    kind: Final = "edge"

    def __init__(
        self,
        directory: Path,
        *,
        lock_wait_s: float,
        reply_wait_s: float,
        indexing_points: int,
        retry_s: float,
    ) -> None:
        self._directory = directory.absolute()
        self._lock_wait_s = lock_wait_s
        self._reply_wait_s = reply_wait_s
        self._indexing_points = indexing_points
        self._retry_s = retry_s
        self._generation: str | None = None
        self._process: Process | None = None
        self._starting: asyncio.Task[Process] | None = None
        self._closed = False
        # While an index is built: what is written meanwhile, and the new generation's process once it takes writes.
        self._writing = asyncio.Lock()
        self._journal: Journal | None = None
        self._heir: Process | None = None
        self._building: asyncio.Task[None] | None = None
        self._keeping: asyncio.Task[None] | None = None
        self._look = asyncio.Event()
        self._written = 0  # since one looked
        self._left = dict.fromkeys(Level, 0)  # points that the engine did not index when it was told to
        self._build_s: float | None = None
        self._purges_wanted = 0
        self._purged = asyncio.Condition()
        self._purges = 0  # so many of the wanted ones are done

    @classmethod
    async def open(
        cls,
        directory: Path,
        *,
        lock_wait_s: float = LOCK_WAIT_S,
        reply_wait_s: float = REPLY_WAIT_S,
        indexing_points: int = INDEXING_POINTS,
        retry_s: float = RETRY_S,
    ) -> Self:
        """The index under `directory` is open, its collections created where they were missing.

        Once `indexing_points` points of a level are not indexed, and `INDEXING_SHARE` of it, they are, beside;
        a build that fails is tried again after `retry_s`, then after ever longer pauses. A directory of an
        earlier format counts as empty, and so does one that cannot be read or has vectors of another kind.

        Raises `StoreInUse` if another process goes on holding the directory for `lock_wait_s`,
        `VectorStoreUnavailable` if no index can be begun there either. A request
        that has no answer after `reply_wait_s` (one that writes whole files: `LONG_WAIT_S`) costs the engine its
        process, and its caller `VectorStoreUnavailable`.
        """
        index = cls(
            directory,
            lock_wait_s=lock_wait_s,
            reply_wait_s=reply_wait_s,
            indexing_points=indexing_points,
            retry_s=retry_s,
        )
        try:
            try:
                await index._ready()
            except VectorStoreUnavailable as error:
                await index._begin_anew(error)
            await index._tidy()
        except BaseException:  # the caller's cancellation too: nobody else would stop the process
            await index.aclose()
            raise
        index._look.set()
        index._keeping = asyncio.create_task(index._keep_indexed(), name="vector-index")
        return index

    @property
    def process_id(self) -> int | None:
        """The id of the serving engine's process, None while there is none."""
        return self._process.process_id if self._process is not None and self._process.alive else None

    async def ready(self) -> None:
        await self._ask(child.Count())

    async def upsert(self, level: Level, points: Sequence[Point]) -> None:
        batch = await asyncio.to_thread(checked_points, points)  # 15 µs a point would hold up the loop
        for part in chunks(batch, UPSERT_POINTS):
            await self._write(
                child.Upsert(
                    collection=COLLECTIONS[level],
                    ids=part.ids,
                    vectors=part.vectors.tobytes(),
                    payloads=part.payloads,
                )
            )

    async def delete(self, level: Level, memory_ids: Sequence[str]) -> None:
        check_ids(memory_ids)
        for start in range(0, len(memory_ids), DELETE_POINTS):
            ids = tuple(memory_ids[start : start + DELETE_POINTS])
            await self._write(child.Delete(collection=COLLECTIONS[level], ids=ids))

    async def search(
        self, vector: Float32s, limits: Mapping[Level, int], filters: Filters, *, rescored: bool = True
    ) -> Mapping[Level, list[Hit]]:
        wanted = checked_limits(limits)
        given = conditions(filters)
        request = child.Search(
            vector=checked_query(vector).tobytes(),
            limits=tuple((COLLECTIONS[level], limit) for level, limit in wanted.items()),
            keywords=given.keywords,
            date_field=DATE_FIELD,
            first=given.first,
            last=given.last,
            rescored=rescored,
        )
        found = cast("list[list[tuple[str, float]]]", await self._ask(request))
        return {
            level: [Hit(memory_id=memory_id, score=score) for memory_id, score in hits]
            for level, hits in zip(wanted, found, strict=True)
        }

    async def counts(self) -> Mapping[Level, int]:
        numbers = cast("list[int]", await self._ask(child.Count()))
        return dict(zip(COLLECTIONS, numbers, strict=True))

    async def coverage(self) -> Coverage:
        states = (await self._coverage()).values()
        return Coverage(
            points=sum(points for points, _ in states),
            indexed=sum(indexed for _, indexed in states),
            building=self._building is not None and not self._building.done(),
            build_s=self._build_s,
        )

    async def ids(self, level: Level) -> set[str]:
        found: set[str] = set()
        start: str | None = None
        while True:
            request = child.Ids(collection=COLLECTIONS[level], start=start, limit=SCROLL_POINTS)
            page, start = cast("tuple[list[str], str | None]", await self._ask(request))
            found.update(page)
            if start is None:
                return found

    async def clear(self) -> None:
        async with self._writing:
            await _end(self._building)  # it would bring back what is cleared
            await self._ask(child.Clear(), wait_s=max(self._reply_wait_s, LONG_WAIT_S))
            self._left = dict.fromkeys(Level, 0)

    async def flush(self) -> None:
        await self._ask(child.Flush(), wait_s=max(self._reply_wait_s, LONG_WAIT_S))

    async def purge(self) -> bool:
        # The engine keeps what was deleted in its segments and in its log, so a generation is filled anew.
        self._purges_wanted += 1
        wanted = self._purges_wanted
        self._look.set()
        async with self._purged:
            await self._purged.wait_for(lambda: self._purges >= wanted or self._closed)
        if self._purges < wanted:
            raise VectorStoreUnavailable("The vector index was closed before it was purged.")
        return True

    async def aclose(self) -> None:
        self._closed = True
        async with self._purged:
            self._purged.notify_all()
        await _end(self._keeping)
        await _end(self._building)
        await _end(self._starting)
        if self._process is not None:
            await self._process.aclose()

    async def _write(self, request: child.Upsert | child.Delete) -> None:
        """The serving engine has applied the request; whoever is to take its place has too, or will have."""
        async with self._writing:
            known = self._journal is None
            try:
                await self._ask(request)
                if self._heir is not None:
                    # Its troubles are the build's, not this caller's.
                    with contextlib.suppress(VectorStoreUnavailable):
                        await self._heir.ask(request, wait_s=self._reply_wait_s)
                        known = True
            finally:  # a caller that leaves does not tell whether the engine applied it
                if self._journal is not None and not known:
                    self._journal.note(request.collection, request.ids)
        self._written += len(request.ids)
        if self._written * LOOKS >= self._indexing_points:
            self._written = 0
            self._look.set()

    async def _coverage(self, process: Process | None = None) -> Mapping[Level, tuple[int, int]]:
        """How many points each level has, and how many of them are indexed."""
        asked = process or await self._ready()
        states = cast("list[tuple[int, int]]", await asked.ask(child.Coverage(), wait_s=self._reply_wait_s))
        return {
            level: (points, min(points, indexed))
            for level, (points, indexed) in zip(COLLECTIONS, states, strict=True)
        }

    async def _keep_indexed(self) -> None:
        """Whenever enough is not indexed, an index is built."""
        pause_s = self._retry_s
        while True:
            await self._look.wait()
            self._look.clear()
            try:
                purges = self._purges_wanted
                if self._purges == purges and not await self._is_lacking():
                    continue
                self._building = asyncio.create_task(
                    self._build(anew=self._purges < purges), name="vector-index-build"
                )
                await asyncio.wait([self._building])
                if not self._building.cancelled():  # as `clear` does
                    self._building.result()
                    async with self._purged:
                        self._purges = purges
                        self._purged.notify_all()
            except (VectorStoreUnavailable, StoreInUse, OSError) as error:
                reason = error.strerror if isinstance(error, OSError) else error.detail
                _log.warning("vector_index_build_failed", reason=reason, retry_s=pause_s)
            except Exception:  # noqa: BLE001  if this were the end, who waits for a purge would wait for ever
                _log.exception("vector_index_build_broke", retry_s=pause_s)
            else:
                pause_s = self._retry_s
                self._look.set()
                continue
            await asyncio.sleep(pause_s)
            pause_s = min(2 * pause_s, LONGEST_RETRY_S)
            self._look.set()

    async def _is_lacking(self) -> bool:
        return any(
            points - indexed - self._left[level] >= max(self._indexing_points, INDEXING_SHARE * points)
            for level, (points, indexed) in (await self._coverage()).items()
        )

    async def _build(self, *, anew: bool) -> None:
        """A generation in which all is indexed serves in place of the one before, or everything is as it was.

        It is a copy of the one before, or `anew`, filled point by point, so that it holds nothing of deleted ones.
        """
        started = time.monotonic()
        await self._tidy()
        name = await _in_thread(lambda: generations.following(self._directory))
        states = await self._coverage()
        lacking = sum(points - indexed for points, indexed in states.values())
        _log.info("vector_index_build_started", points=sum(p for p, _ in states.values()), lacking=lacking)
        journal = Journal(self._directory)
        heir: Process | None = None
        try:
            async with self._writing:
                if not anew:
                    await self._copy(name)
                self._journal = journal
            if anew:
                await self._refill(name)
            await self._optimize(name)
            heir = await self._open_engine(name)
            left = {
                level: points - indexed for level, (points, indexed) in (await self._coverage(heir)).items()
            }
            await self._hand_over(name, heir, journal)
            self._left = left
            self._build_s = round(time.monotonic() - started, 3)
            _log.info("vector_index_build_finished", seconds=self._build_s, written_meanwhile=journal.noted)
        finally:
            self._journal = self._heir = None
            journal.close()
            if self._process is not heir:
                if heir is not None:
                    await heir.kill()
                await _in_thread(lambda: self._remove(name))

    async def _begin_anew(self, error: VectorStoreUnavailable) -> None:
        """An empty generation serves in place of one that cannot be opened; raises `error` if that fails too."""
        try:
            name = await _in_thread(lambda: generations.following(self._directory))
            process = await self._open_engine(name)
            self._process = process
            await _in_thread(lambda: generations.make_current(self._directory, name))
        except (VectorStoreUnavailable, StoreInUse, OSError) as failure:
            _log.warning("vector_index_not_begun_anew", reason=str(failure))
            raise error from failure
        self._generation = name
        _log.warning("vector_index_begun_anew", reason=error.detail)

    async def _copy(self, name: str) -> None:
        """The generation `name` holds what the current one does; nothing is written meanwhile."""
        process = await self._ready()
        await process.ask(child.Flush(), wait_s=max(self._reply_wait_s, LONG_WAIT_S))
        current = self._directory / self._current()
        await _in_thread(lambda: generations.copy(current, self._directory / name))
        if self._process is not process or not process.alive:
            # The one that took its place replayed the log into the files that were being copied.
            raise VectorStoreUnavailable("The vector engine died while its files were copied.")

    async def _refill(self, name: str) -> None:
        """The generation `name` is new and holds every point of the current one, but for the journal's."""
        filler = await self._open_engine(name, niceness=BUILDER_NICENESS)
        try:
            for level, collection in COLLECTIONS.items():
                ids = sorted(await self.ids(level))
                for start in range(0, len(ids), UPSERT_POINTS):
                    part = tuple(ids[start : start + UPSERT_POINTS])
                    found = await self._ask(child.Read(collection=collection, ids=part))
                    await filler.ask(cast("child.Upsert", found), wait_s=self._reply_wait_s)
            await filler.ask(child.Close(), wait_s=self._reply_wait_s)
        finally:
            await filler.kill()

    async def _optimize(self, name: str) -> None:
        """All of the generation that is large enough is indexed and on the disk; nobody holds it open."""
        # A process of its own, since a low priority is for life, and memory that was used once is kept.
        builder = await self._open_engine(name, niceness=BUILDER_NICENESS)
        try:
            await builder.ask(child.Optimize(), wait_s=BUILD_WAIT_S)
            await builder.ask(child.Close(), wait_s=max(self._reply_wait_s, LONG_WAIT_S))
        finally:
            await builder.kill()
        await _in_thread(lambda: sync_all(self._directory / name))

    async def _hand_over(self, name: str, heir: Process, journal: Journal) -> None:
        """The heir holds what the serving engine does, and serves in its place."""
        self._heir = heir  # from now on what is written is written to both, so that the journal only shrinks
        while journal.waiting:
            async with self._writing:
                await self._replay(heir, journal)
        async with self._writing:
            while journal.waiting:  # by callers that left
                await self._replay(heir, journal)
            await heir.ask(child.Flush(), wait_s=max(self._reply_wait_s, LONG_WAIT_S))
            try:
                await _in_thread(lambda: generations.make_current(self._directory, name))
            except OSError:
                if await _in_thread(lambda: generations.current(self._directory)) != name:
                    raise  # otherwise it is current, if perhaps not after a power cut
            before, self._process = self._process, heir
            former, self._generation = self._current(), name
            self._journal = self._heir = None
        if before is not None:
            await before.aclose()  # after the searches that it still has to answer
        await _in_thread(lambda: self._remove(former))

    async def _replay(self, heir: Process, journal: Journal) -> None:
        """What the journal names next is in the heir as it is in the serving engine."""
        for collection, ids in journal.take(UPSERT_POINTS).items():
            found = cast("child.Upsert", await self._ask(child.Read(collection=collection, ids=ids)))
            missing = tuple(set(ids).difference(found.ids))
            await heir.ask(found, wait_s=self._reply_wait_s)
            await heir.ask(child.Delete(collection=collection, ids=missing), wait_s=self._reply_wait_s)

    def _current(self) -> str:
        if self._generation is None:
            raise VectorStoreUnavailable("The vector index is not open.")
        return self._generation

    async def _tidy(self) -> None:
        """What earlier builds and formats left is removed."""
        keep = self._current()
        await _in_thread(lambda: generations.remove_leftovers(self._directory, keep, COLLECTIONS.values()))

    def _remove(self, name: str) -> None:
        if generations.current(self._directory) != name:
            shutil.rmtree(self._directory / name, ignore_errors=True)

    async def _ask(self, request: child.Request, *, wait_s: float | None = None) -> object:
        process = await self._ready()
        return await process.ask(request, wait_s=wait_s or self._reply_wait_s)

    async def _ready(self) -> Process:
        """The engine's process, started if there is none; callers at the same time share one start."""
        if self._closed:
            raise VectorStoreUnavailable("The vector index is closed.")
        if self._process is not None and self._process.alive:
            return self._process
        if self._starting is None or self._starting.done():
            self._starting = asyncio.create_task(self._start())
            # Its error is told to those who wait; if all of them left, it is nobody's.
            self._starting.add_done_callback(lambda task: task.cancelled() or task.exception())
        starting = self._starting
        try:
            return await asyncio.shield(starting)
        except asyncio.CancelledError:
            if starting.cancelled():  # by `aclose`, not by our own caller
                raise VectorStoreUnavailable("The vector index is closed.") from None
            raise

    async def _start(self) -> Process:
        before = self._process
        if before is not None:
            await before.gone()
        attempts = AsyncRetrying(
            retry=retry_if_exception_type((StoreInUse, ProcessDied)),
            stop=stop_after_delay(self._lock_wait_s),
            wait=wait_random_exponential(multiplier=0.05, max=0.5),
            reraise=True,
        )
        process: Process = await attempts(self._open_engine, self._generation)
        if self._process is not before and self._process is not None:  # a new generation serves by now
            await process.kill()
            return self._process
        self._process = process
        return process

    async def _open_engine(self, generation: str | None, niceness: int = 0) -> Process:
        """A process holds the generation open; None stands for the current one, which is noted."""
        process = await Process.start()
        request = child.Open(
            directory=str(self._directory),
            generation=generation,
            collections=tuple(
                child.Collection(
                    name=name, m=HNSW[level].m, ef_construct=HNSW[level].ef_construct, ef=HNSW[level].ef
                )
                for level, name in COLLECTIONS.items()
            ),
            dimensions=VECTOR_DIMENSIONS,
            keyword_fields=KEYWORD_FIELDS,
            integer_fields=(DATE_FIELD,),
            indexing_points=max(
                1, self._indexing_points // 2
            ),  # well below, so that what asks for it is indexed
            niceness=niceness,
        )
        opened = False
        try:
            name = cast("str", await process.ask(request, wait_s=OPENING_WAIT_S))
            if generation is None:
                self._generation = name
            opened = True
        except ProcessDied as error:
            raise ProcessDied(
                f"The vector engine died while it opened {self._directory}. {REBUILD}"
            ) from error
        finally:
            if not opened:
                await process.kill()
        return process


async def _end(task: asyncio.Task[Process] | asyncio.Task[None] | None) -> None:
    """The task, if there is one, has ended; its error is its own affair."""
    if task is not None:
        task.cancel()
        await asyncio.wait([task])


async def _in_thread(work: Callable[[], T]) -> T:
    """What the work returns. A caller that is cancelled waits for its end, so that nobody works behind its back."""
    working = asyncio.ensure_future(asyncio.to_thread(work))
    try:
        return await asyncio.shield(working)
    except asyncio.CancelledError:
        await asyncio.wait([working])
        raise
