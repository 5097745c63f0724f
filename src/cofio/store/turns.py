"""Taking turns: what one process of a data directory at a time may do."""

from __future__ import annotations

import asyncio
import fcntl
import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

POLL_S: Final = 0.01


class Turns:
    """Turns by name. A turn is a locked byte of one file, so the kernel ends the turns of a process that dies.

    Processes are kept apart, not the tasks of one process: whoever has a turn already is given it again. A process
    opens a file of turns once only, since closing it ends all of the turns in it.
    """

    def __init__(self, path: Path) -> None:
        self._file = path.open("ab")

    def close(self) -> None:
        """All turns are over."""
        self._file.close()

    def take(self, name: str) -> bool:
        """Whether it is this process's turn now, until `give_back`."""
        try:
            fcntl.lockf(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, _byte(name))
        except BlockingIOError:
            return False
        return True

    def give_back(self, name: str) -> None:
        """It may be another process's turn."""
        fcntl.lockf(self._file, fcntl.LOCK_UN, 1, _byte(name))

    @asynccontextmanager
    async def turn(self, name: str, *, poll_s: float = POLL_S) -> AsyncIterator[None]:
        """It is this process's turn for the length of the block; another's is waited for."""
        while not self.take(name):  # noqa: ASYNC110  another process cannot set an event of this one
            await asyncio.sleep(poll_s)
        try:
            yield
        finally:
            self.give_back(name)


def _byte(name: str) -> int:
    """The place of the name in the file, which may be far behind its end: two names do not meet."""
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:7])
