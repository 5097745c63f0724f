"""The data directory: what lies where in it, and who holds it: one process, or the workers of one service."""

from __future__ import annotations

import contextlib
import fcntl
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from filelock import FileLock, Timeout

from cofio.errors import StoreInUse, Unavailable
from cofio.settings import Settings

LOCK_NAME: Final = "cofio.lock"
DATABASE_NAME: Final = "cofio.sqlite3"
VECTORS_NAME: Final = "vectors"
GRAPH_NAME: Final = "graph.npz"
BACKUPS_NAME: Final = "backups"


def backup_dir(settings: Settings) -> Path:
    """The folder of the backups of `settings.data_dir`."""
    return settings.backup_dir or settings.data_dir / BACKUPS_NAME


@contextlib.contextmanager
def held(data_dir: Path) -> Iterator[None]:
    """This process alone holds the data directory, which is made if it is missing; a killed holder lets go by itself.

    Raises `StoreInUse`, or `Unavailable` where the directory cannot be written.
    """
    lock = FileLock(data_dir / LOCK_NAME)
    try:
        data_dir.mkdir(parents=True, exist_ok=True)
        lock.acquire(timeout=0)
    except Timeout as error:
        raise StoreInUse(
            f"Another cofio process holds {data_dir}. Stop it, choose another --data-dir, "
            "or send requests to it with --url."
        ) from error
    except OSError as error:
        raise Unavailable(f"The data directory {data_dir} cannot be written: {error.strerror}.") from error
    try:
        yield
    finally:
        lock.release()


@contextlib.contextmanager
def shared(data_dir: Path) -> Iterator[None]:
    """No process holds the data directory alone meanwhile, only such as share it; a killed one lets go by itself.

    Raises `StoreInUse`, or `Unavailable` where the directory cannot be written.
    """
    with contextlib.ExitStack() as stack:
        try:
            data_dir.mkdir(parents=True, exist_ok=True)
            file = stack.enter_context((data_dir / LOCK_NAME).open("a"))
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)  # what a FileLock locks too, but for itself
        except BlockingIOError as error:
            raise StoreInUse(
                f"Another cofio process holds {data_dir} for itself. Stop it, or choose another --data-dir."
            ) from error
        except OSError as error:
            raise Unavailable(
                f"The data directory {data_dir} cannot be written: {error.strerror}."
            ) from error
        yield
