"""A process that runs the embedded engine, and the socket to it.

A plain `Popen` was chosen over a process pool: a spawned pool worker imports the parent's main script again, and
with it the web framework and the compiler; and a pool whose worker died is broken for good.
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
from typing import Final, Self

from cofio.errors import StoreInUse, VectorStoreUnavailable
from cofio.store import vectors_edge_child as child

CLOSE_WAIT_S: Final = 20.0
REAP_POLL_S: Final = 0.002
REBUILD: Final = "If that goes on, remove the directory: the vector index is rebuilt from SQLite."

_BOOT: Final = "import sys; from cofio.store.vectors_edge_child import serve; serve(*map(int, sys.argv[1:]))"


class ProcessDied(VectorStoreUnavailable):
    """The vector engine's process died."""


class Process:
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
        try:
            ours, theirs = socket.socketpair()
            with theirs:
                try:
                    reader, writer = await asyncio.open_unix_connection(sock=ours)
                except BaseException:
                    ours.close()
                    raise
                try:
                    process = _spawn(theirs)
                except OSError:
                    writer.close()
                    raise
        except OSError as error:  # too many open files or processes
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
            raise ProcessDied
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
                    answered.set_result(pickle.loads(body))  # noqa: S301  from our own child, over a socket pair  # nosec B301
        except (asyncio.IncompleteReadError, ConnectionError):
            pass  # the socket is closed: the process is dead, or about to be
        finally:
            self._ended = True
            for answered in self._waiting:
                if not answered.done():
                    answered.set_exception(ProcessDied())
            self._waiting.clear()
            self._writer.close()
            self._process.kill()
            # Unmapping gigabytes takes a while, and the loop must not wait for it.
            while self._process.poll() is None:  # noqa: ASYNC110  the end of a process is no asyncio event
                await asyncio.sleep(REAP_POLL_S)


def _spawn(theirs: socket.socket) -> subprocess.Popen[bytes]:
    # -P: the working directory must not shadow a module. Standard output is nobody's business but ours.
    return subprocess.Popen(  # noqa: S603  our own interpreter and module  # nosec B603
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
                f"The vector index in {directory} cannot be opened ({failure.detail}). {REBUILD}"
            )
        case _:
            return VectorStoreUnavailable(f"The vector engine refused: {failure.detail}")
