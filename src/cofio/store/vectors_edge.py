"""The vector index on Qdrant Edge, the embedded engine, in a process of its own.

Every call of Edge holds the interpreter's lock (measured on 0.9.0), so the engine lives in a child process,
spoken to over a socket pair (`vectors_edge_child`). A plain `Popen` was chosen over a process pool: a spawned
pool worker imports the parent's main script again, and with it the web framework and the compiler; and a pool
whose worker died is broken for good.

Edge scans exactly until it is told to build an HNSW index by an explicit `optimize()`, which takes minutes at
100,000 points and blocks the engine. This adapter never calls it: every search is exact.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import pickle
import socket
import subprocess
import sys
from collections import deque
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final, Self, cast

from tenacity import AsyncRetrying, retry_if_exception_type, stop_after_delay, wait_random_exponential

from cofio.errors import StoreInUse, VectorStoreUnavailable
from cofio.records import VECTOR_DIMENSIONS, Filters, Float32s, Level
from cofio.store import vectors_edge_child as child
from cofio.store.vectors import (
    COLLECTIONS,
    DATE_FIELD,
    KEYWORD_FIELDS,
    Hit,
    Point,
    check_ids,
    checked_limits,
    checked_points,
    checked_query,
    chunks,
    conditions,
)

UPSERT_POINTS: Final = 128  # points a request: 10 to 20 ms, so that searches slip in between
DELETE_POINTS: Final = 4096
SCROLL_POINTS: Final = 10_000
LOCK_WAIT_S: Final = 5.0  # how long a directory may stay locked, by an engine that is just dying
OPENING_WAIT_S: Final = 600.0  # a log that was never flushed is replayed as a whole
CLOSE_WAIT_S: Final = 20.0
REPLY_WAIT_S: Final = 120.0
REAP_POLL_S: Final = 0.002

_BOOT: Final = "import sys; from cofio.store.vectors_edge_child import serve; serve(*map(int, sys.argv[1:]))"


class _ProcessDied(VectorStoreUnavailable):
    """The vector engine's process died."""


class EdgeIndex:
    """An open index under one directory, which one process at a time may hold.

    When the engine's process dies, calls in flight raise `VectorStoreUnavailable`; the next call starts it
    again. What an upsert or deletion acknowledged survives that.
    """

    kind: Final = "edge"

    def __init__(self, directory: Path, *, lock_wait_s: float, reply_wait_s: float) -> None:
        self._directory = directory.absolute()
        self._lock_wait_s = lock_wait_s
        self._reply_wait_s = reply_wait_s
        self._process: _Process | None = None
        self._starting: asyncio.Task[_Process] | None = None
        self._closed = False

    @classmethod
    async def open(
        cls, directory: Path, *, lock_wait_s: float = LOCK_WAIT_S, reply_wait_s: float = REPLY_WAIT_S
    ) -> Self:
        """The index under `directory` is open, its collections created where they were missing.

        Raises `StoreInUse` if another process goes on holding the directory for `lock_wait_s`,
        `VectorStoreUnavailable` if what lies there cannot be read or has vectors of another kind. A request
        that has no answer after `reply_wait_s` costs the engine its process, and its caller
        `VectorStoreUnavailable`.
        """
        index = cls(directory, lock_wait_s=lock_wait_s, reply_wait_s=reply_wait_s)
        try:
            await index._ready()
        except BaseException:  # the caller's cancellation too: nobody else would stop the process
            await index.aclose()
            raise
        return index

    @property
    def process_id(self) -> int | None:
        """The id of the engine's process, None while there is none."""
        return self._process.process_id if self._process is not None and self._process.alive else None

    async def upsert(self, level: Level, points: Sequence[Point]) -> None:
        batch = await asyncio.to_thread(checked_points, points)  # 15 µs a point would hold up the loop
        for part in chunks(batch, UPSERT_POINTS):
            await self._ask(
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
            await self._ask(child.Delete(collection=COLLECTIONS[level], ids=ids))

    async def search(
        self, vector: Float32s, limits: Mapping[Level, int], filters: Filters
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
        )
        found = cast("list[list[tuple[str, float]]]", await self._ask(request))
        return {
            level: [Hit(memory_id=memory_id, score=score) for memory_id, score in hits]
            for level, hits in zip(wanted, found, strict=True)
        }

    async def counts(self) -> Mapping[Level, int]:
        numbers = cast("list[int]", await self._ask(child.Count()))
        return dict(zip(COLLECTIONS, numbers, strict=True))

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
        await self._ask(child.Clear())

    async def flush(self) -> None:
        await self._ask(child.Flush())

    async def aclose(self) -> None:
        self._closed = True
        if self._starting is not None:
            self._starting.cancel()
            await asyncio.wait([self._starting])
        if self._process is not None:
            await self._process.aclose()

    async def _ask(self, request: child.Request) -> object:
        process = await self._ready()
        return await process.ask(request, wait_s=self._reply_wait_s)

    async def _ready(self) -> _Process:
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

    async def _start(self) -> _Process:
        if self._process is not None:
            await self._process.gone()
        attempts = AsyncRetrying(
            retry=retry_if_exception_type((StoreInUse, _ProcessDied)),
            stop=stop_after_delay(self._lock_wait_s),
            wait=wait_random_exponential(multiplier=0.05, max=0.5),
            reraise=True,
        )
        process: _Process = await attempts(self._start_once)
        self._process = process
        return process

    async def _start_once(self) -> _Process:
        process = await _Process.start()
        request = child.Open(
            directory=str(self._directory),
            collections=tuple(COLLECTIONS.values()),
            dimensions=VECTOR_DIMENSIONS,
            keyword_fields=KEYWORD_FIELDS,
            integer_fields=(DATE_FIELD,),
        )
        opened = False
        try:
            await process.ask(request, wait_s=OPENING_WAIT_S)
            opened = True
        except _ProcessDied as error:
            raise _ProcessDied(
                f"The vector engine died while it opened {self._directory}. {_REBUILD}"
            ) from error
        finally:
            if not opened:
                await process.kill()
        return process


_REBUILD: Final = "If that goes on, remove the directory: the vector index is rebuilt from SQLite."


class _Process:
    """One process of the engine. Requests are answered in order, so answers need no number."""

    def __init__(
        self,
        process: subprocess.Popen[bytes],
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> None:
        self._process = process
        self._reader = reader
        self._writer = writer
        self._waiting: deque[asyncio.Future[object]] = deque()
        self._ended = False
        self._reading = asyncio.create_task(self._read())

    @classmethod
    async def start(cls) -> Self:
        """The engine's process runs; it holds no directory yet."""
        ours, theirs = socket.socketpair()
        with theirs:
            try:
                reader, writer = await asyncio.open_unix_connection(sock=ours)
            except BaseException:
                ours.close()
                raise
            try:
                process = _spawn(theirs)
            except OSError as error:
                writer.close()
                raise VectorStoreUnavailable(f"The vector engine cannot be started: {error}") from error
        return cls(process, reader, writer)

    @property
    def process_id(self) -> int:
        return self._process.pid

    @property
    def alive(self) -> bool:
        return not self._ended and self._process.poll() is None

    async def ask(self, request: child.Request, *, wait_s: float) -> object:
        """The answer to the request; a `Failure` is raised as the error that it stands for."""
        if self._ended:
            raise _ProcessDied
        body = pickle.dumps(request, protocol=pickle.HIGHEST_PROTOCOL)
        answered: asyncio.Future[object] = asyncio.get_running_loop().create_future()
        self._waiting.append(answered)
        self._writer.write(len(body).to_bytes(child.HEADER_BYTES) + body)
        try:
            async with asyncio.timeout(wait_s):
                with contextlib.suppress(ConnectionError):  # then the reading end fails `answered`
                    await self._writer.drain()
                answer = await answered
        except TimeoutError as error:
            self._ended = True  # no caller may take it for alive while it dies
            self._process.kill()
            raise VectorStoreUnavailable(f"The vector engine did not answer within {wait_s:g} s.") from error
        finally:
            answered.cancel()  # of a caller that left: its answer is dropped when it comes
        if isinstance(answer, child.Failure):
            raise _error_of(answer, request)
        return answer

    async def aclose(self) -> None:
        """The shards are flushed and closed and the process is gone; killed if it takes too long."""
        with contextlib.suppress(VectorStoreUnavailable):  # dead already, or killed for being too slow
            await self.ask(child.Close(), wait_s=CLOSE_WAIT_S)
        try:
            async with asyncio.timeout(CLOSE_WAIT_S):
                await self.gone()
        except TimeoutError:
            await self.kill()

    async def kill(self) -> None:
        """The process is gone, whatever it was doing."""
        self._process.kill()
        await self.gone()

    async def gone(self) -> None:
        """The process has ended and is reaped."""
        await asyncio.wait([self._reading])

    async def _read(self) -> None:
        try:
            while True:
                header = await self._reader.readexactly(child.HEADER_BYTES)
                body = await self._reader.readexactly(int.from_bytes(header))
                answered = self._waiting.popleft()
                if not answered.done():
                    answered.set_result(pickle.loads(body))  # noqa: S301  from our own child, over a socket pair
        except (asyncio.IncompleteReadError, ConnectionError):
            pass  # the socket is closed: the process is dead, or about to be
        finally:
            self._ended = True
            for answered in self._waiting:
                if not answered.done():
                    answered.set_exception(_ProcessDied())
            self._waiting.clear()
            self._writer.close()
            self._process.kill()
            # Unmapping gigabytes takes a while, and the loop must not wait for it.
            while self._process.poll() is None:  # noqa: ASYNC110  the end of a process is no asyncio event
                await asyncio.sleep(REAP_POLL_S)


def _spawn(theirs: socket.socket) -> subprocess.Popen[bytes]:
    # -P: the working directory must not shadow a module. Standard output is nobody's business but ours.
    return subprocess.Popen(  # noqa: S603  our own interpreter and module
        [sys.executable, "-P", "-c", _BOOT, str(theirs.fileno()), str(os.getpid())],
        pass_fds=[theirs.fileno()],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
    )


def _error_of(failure: child.Failure, request: child.Request) -> Exception:
    directory = request.directory if isinstance(request, child.Open) else ""
    match failure.kind:
        case "in_use":
            return StoreInUse(f"Another process holds the vector index in {directory}.")
        case "unusable":
            return VectorStoreUnavailable(
                f"The vector index in {directory} cannot be opened ({failure.detail}). {_REBUILD}"
            )
        case _:
            return VectorStoreUnavailable(f"The vector engine refused: {failure.detail}")
