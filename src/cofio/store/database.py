"""SQLite, the truth: one writer, several readers, migrations, and the named queries of `sql/`."""

from __future__ import annotations

import asyncio
import contextlib
import queue
import sqlite3
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from functools import partial
from importlib import resources
from pathlib import Path
from typing import Any, Concatenate, Final, ParamSpec, TypeVar, cast

import aiosql
import orjson
import structlog
import yoyo
from aiosql.adapters.sqlite3 import SQLite3Adapter
from filelock import FileLock

from cofio.errors import MAKE_ROOM, StorageFull, StoreBusy, StoreTooNew, StoreUnavailable, Unavailable
from cofio.store.archives import write_archive
from cofio.store.clock import now
from cofio.text.clean import folded
from cofio.threads import run_in

P = ParamSpec("P")
Result = TypeVar("Result")


class _Rows(SQLite3Adapter):
    """The library's own adapter, for connections whose rows are `sqlite3.Row`, which is no tuple."""

    def select_value(self, conn: sqlite3.Connection, _query_name: str, sql: str, parameters: Any) -> Any:
        row = conn.execute(sql, parameters).fetchone()
        return None if row is None else row[0]


# Every statement of the project lives in sql/*.sql under the name it is called by here.
queries: Final[Any] = aiosql.from_path(
    str(resources.files("cofio.store") / "sql"), cast("Any", _Rows), mandatory_parameters=False
)

_log = structlog.get_logger(__name__)

_MIGRATIONS: Final = str(resources.files("cofio.store") / "migrations")
_READERS: Final = 8
_READ_THREADS: Final = 4  # the other readers are for threads that read themselves, by `select`
# How long a writer waits for those of this process that came before, and then for other processes.
TURN_WAIT_S: Final = 30.0
_BUSY_WAIT_MS: Final = 10_000
_SCRUB_WAIT_MS: Final = 250
LONGEST_LOG_BYTES: Final = 64 * 1024 * 1024
PURGE_OWED: Final = "purge_owed"  # the fact that the vector index's files may still hold what was deleted
STORE_ID: Final = "store"  # the fact which truth this is: another after it was restored
RESTORED: Final = "restored"  # the fact that the vector index was not filled from this database
INDEX_PLACE: Final = "index_place"  # the fact where the vector index is that was filled from this database

# FULL: a commit that was acknowledged survives a power cut, not only a kill. secure_delete: what a deletion
# removes is overwritten, so that nothing of it stays behind in the file.
_PRAGMAS: Final = f"""
PRAGMA journal_mode = WAL;
PRAGMA synchronous = FULL;
PRAGMA foreign_keys = ON;
PRAGMA secure_delete = ON;
PRAGMA busy_timeout = {_BUSY_WAIT_MS};
PRAGMA temp_store = MEMORY;
"""


class Database:
    """An open database file. A transaction is a function that runs in one thread, from its first statement to its last.

    There is one writer, which has a thread of its own; readers are as many as there are threads that read.
    """

    def __init__(
        self,
        path: Path,
        writer: sqlite3.Connection,
        readers: Sequence[sqlite3.Connection],
        watcher: sqlite3.Connection,
        pinged: sqlite3.Connection,
    ) -> None:
        self.path = path
        self._writer = writer
        # Who read last reads next: it holds the pages that are read most, and the others need hold none.
        self._readers: queue.LifoQueue[sqlite3.Connection] = queue.LifoQueue()
        for reader in readers:
            self._readers.put(reader)
        self._of_readers = len(readers)
        self._watcher = watcher
        # Nobody else's: that all readers are at work does not mean that the database is down.
        self._pinged = pinged
        self._write_thread = ThreadPoolExecutor(1, thread_name_prefix="write")
        self._read_threads = ThreadPoolExecutor(_READ_THREADS, thread_name_prefix="read")
        self._ping_thread = ThreadPoolExecutor(1, thread_name_prefix="ping")
        self._unscrubbed = False  # whether the log may hold what was deleted

    @classmethod
    async def open(cls, path: Path, backups: Path) -> Database:
        """The database at `path` is open and at the newest schema; a missing file is created.

        Before the schema of one that holds something is changed, a backup of it is written into `backups`. Raises
        `StoreTooNew` if a newer cofio wrote it, `Unavailable` if it cannot be opened or saved before.
        """
        try:
            database = await asyncio.to_thread(cls._open, path, backups)
        except (sqlite3.DatabaseError, PermissionError) as error:
            raise Unavailable(f"The database {path} cannot be opened: {error}.") from error
        # Whoever was killed after a deletion may have left what it removed in the log.
        await database.scrub()
        return database

    @classmethod
    def _open(cls, path: Path, backups: Path) -> Database:
        _migrate(path, backups)
        readers = [_connect(path) for _ in range(_READERS)]
        return cls(path, _connect(path), readers, _connect(path), _connect(path))

    async def aclose(self) -> None:
        """Every connection is closed; what was committed is in the main file, unless there is no room for it."""
        await asyncio.to_thread(self._close)

    def _close(self) -> None:
        for threads in (self._ping_thread, self._read_threads, self._write_thread):
            threads.shutdown()
        for _ in range(self._of_readers):
            self._readers.get().close()
        self._pinged.close()
        self._watcher.close()
        with suppress(sqlite3.OperationalError):  # a full disk: what was committed is safe in the log
            self._writer.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        self._writer.close()

    async def write(
        self,
        work: Callable[Concatenate[sqlite3.Connection, P], Result],
        *given: P.args,
        **named: P.kwargs,
    ) -> Result:
        """What `work` returns of the writer and what is given, once its transaction is committed; all is undone if it raises.

        A caller that is cancelled does not wait for it, and what has begun is done to its end. Raises `StoreBusy` where
        others go on writing for too long, `StorageFull` or `StoreUnavailable`.
        """

        def transact() -> Result:
            self._writer.execute("BEGIN IMMEDIATE")
            try:
                result = work(self._writer, *given, **named)
                self._commit()
            except BaseException:
                self._writer.rollback()
                raise
            return result

        return await self._in_turn(transact)

    async def _in_turn(self, work: Callable[[], Result]) -> Result:
        """What `work` returns in the writer's thread; raises `StoreBusy` where its turn comes too late."""
        latest = time.monotonic() + TURN_WAIT_S

        def do() -> Result:
            if time.monotonic() > latest:
                raise StoreBusy(f"Other writers of this process held the database for {TURN_WAIT_S:g} s.")
            with _told(self.path):
                return work()

        return await run_in(self._write_thread, do)

    def _commit(self) -> None:
        self._writer.commit()

    async def read(
        self,
        work: Callable[Concatenate[sqlite3.Connection, P], Result],
        *given: P.args,
        **named: P.kwargs,
    ) -> Result:
        """What `work` returns of a reader and what is given; it sees one state of the truth. Raises `StoreUnavailable`."""

        def look() -> Result:
            with self._reader() as connection:
                connection.execute("BEGIN")
                try:
                    return work(connection, *given, **named)
                finally:
                    connection.rollback()

        return await run_in(self._read_threads, look)

    async def rows(self, query: Any, **values: object) -> list[sqlite3.Row]:
        """All rows of one named query, which sees one state of the truth."""
        return await run_in(self._read_threads, partial(self.select, query, **values))

    def select(self, query: Any, **values: object) -> list[sqlite3.Row]:
        """What `rows` returns, read in the calling thread, which waits: for threads that work on one request."""
        with self._reader() as connection:
            return connection.execute(query.sql, values).fetchall()

    @contextmanager
    def _reader(self) -> Iterator[sqlite3.Connection]:
        connection = self._readers.get()
        try:
            with _told(self.path):
                yield connection
        finally:
            self._readers.put(connection)

    async def scrub(self) -> bool:
        """The write-ahead log is empty: what was deleted is gone from it too.

        False where readers or a full disk are in the way; `tidy` will try again then.
        """
        self._unscrubbed = True
        try:
            await self._empty_log()
        except StoreUnavailable as error:
            _log.warning("log_not_emptied", reason=error.detail)
        return not self._unscrubbed

    async def tidy(self) -> None:
        """The write-ahead log holds nothing that was deleted, and is no longer than `LONGEST_LOG_BYTES`.

        SQLite begins the log anew only in a moment in which nobody reads it; where somebody always does, it would
        grow for ever. Raises `StoreUnavailable`.
        """
        log = self.path.with_name(f"{self.path.name}-wal")
        if self._unscrubbed or (await asyncio.to_thread(log.stat)).st_size > LONGEST_LOG_BYTES:
            await self._empty_log()

    async def _empty_log(self) -> None:
        def empty() -> None:
            # Readers that stay for long must not hold up the writers.
            self._writer.execute(f"PRAGMA busy_timeout = {_SCRUB_WAIT_MS}")
            try:
                (busy, _, _) = self._writer.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
            finally:
                self._writer.execute(f"PRAGMA busy_timeout = {_BUSY_WAIT_MS}")
            if not busy:
                self._unscrubbed = False

        await self._in_turn(empty)

    async def ping(self) -> None:
        """The database answers a read; raises `StoreUnavailable` if not."""

        def ask() -> None:
            with _told(self.path):
                queries.version(self._pinged)

        await run_in(self._ping_thread, ask)

    async def damage(self) -> tuple[str, ...]:
        """What SQLite's own checks find wrong with the file, at most ten lines; they read all of it."""
        return await self.read(_damage)

    async def counts(self) -> Mapping[str, int]:
        """How many meetings, memories of each level, edges and operations the truth holds."""
        (row,) = await self.rows(queries.counts)
        return dict(zip(row.keys(), row, strict=True))

    async def fact(self, name: str) -> str | None:
        """What is known under this name about the store as a whole, or None."""
        rows = await self.rows(queries.fact, name=name)
        return str(rows[0]["value"]) if rows else None

    def commits(self) -> int:
        """A number that is another one when something was committed since, by any process; it takes microseconds."""
        with _told(self.path):
            (number,) = self._watcher.execute("PRAGMA data_version").fetchone()
        return int(number)

    async def version(self) -> int:
        """The version of the truth: it grows with every committed change."""
        ((version,),) = await self.rows(queries.version)
        return int(version)


def _damage(connection: sqlite3.Connection) -> tuple[str, ...]:
    found = [row[0] for row in connection.execute("PRAGMA integrity_check(10)")]
    dangling = connection.execute("PRAGMA foreign_key_check").fetchall()
    told = [line for line in found if line != "ok"]
    if dangling:
        told.append(f"{len(dangling)} rows refer to rows that are not there")
    return tuple(told)


@contextmanager
def _told(path: Path) -> Iterator[None]:
    """What SQLite raises inside is raised as the error that it means to a user."""
    try:
        yield
    except sqlite3.Error as error:
        match getattr(error, "sqlite_errorcode", 0) & 0xFF:  # without what the code says beyond the kind
            case sqlite3.SQLITE_BUSY | sqlite3.SQLITE_LOCKED:
                raise StoreBusy(
                    f"Another process has been writing to the database {path.name} for {_BUSY_WAIT_MS / 1000:g} s. "
                    "Nothing of this request was stored; send it again."
                ) from error
            case sqlite3.SQLITE_FULL:
                raise StorageFull(f"The disk of {path.parent} is full. {MAKE_ROOM}") from error
            case (
                sqlite3.SQLITE_IOERR
                | sqlite3.SQLITE_READONLY
                | sqlite3.SQLITE_CANTOPEN
                | sqlite3.SQLITE_CORRUPT
                | sqlite3.SQLITE_NOTADB
            ):
                raise StoreUnavailable(
                    f"The database {path.name} cannot be read or written: {error}. Look after its disk, "
                    "or restore a backup."
                ) from error
        raise


def _connect(path: Path) -> sqlite3.Connection:
    """A connection that any one thread at a time may use."""
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    connection.row_factory = sqlite3.Row
    connection.executescript(_PRAGMAS)
    # SQLite's own `lower` knows the letters of English alone.
    connection.create_function("folded", 1, _folded, deterministic=True)
    return connection


def _folded(value: object) -> str | None:
    return None if value is None else folded(str(value))


def _migrate(path: Path, backups: Path) -> None:
    """Applies what is missing of `migrations/`, each file with its note in one transaction, after a backup of what is there."""
    # A file's lock, which a killed process lets go of: of the processes that share a directory one migrates at a time.
    with FileLock(path.with_name(f"{path.name}.migrating")):
        backend = yoyo.get_backend(f"sqlite:///{path}")
        try:
            _apply_missing(backend, path, backups)
        finally:
            backend.connection.close()


def _apply_missing(backend: Any, path: Path, backups: Path) -> None:
    # yoyo takes a lock of its own when it makes its tables, and this one outlives a process that is killed then.
    if backend.execute("SELECT pid FROM yoyo_lock").fetchone():
        backend.break_lock()
    known = yoyo.read_migrations(_MIGRATIONS)
    applied = set(backend.get_applied_migration_hashes())
    if unknown := applied - {migration.hash for migration in known}:
        raise StoreTooNew(
            f"The database {path} has {len(unknown)} migration(s) that this version of cofio does not know. "
            "Start the version that wrote it, or restore an older backup."
        )
    missing = backend.to_apply(known)
    if applied and missing and _holds_something(backend.connection):
        archive = write_archive(path, backups, note=f"-before-{missing[-1].id}")
        _log.info("backup_before_migration", backup=str(archive), migrations=[one.id for one in missing])
    for migration in missing:
        # yoyo's own `apply` notes a migration in a transaction of its own: a kill between the two would leave a
        # store that no version can open.
        with backend.transaction():
            migration.process_steps(backend, "apply")
            backend.mark_one(migration)


def newest_known_migration() -> str:
    """The name of the newest migration of this version of cofio."""
    return max(str(migration.id) for migration in yoyo.read_migrations(_MIGRATIONS))


def note_restored(path: Path, backup: str) -> None:
    """Whoever opens this database next knows that index and graph may be those of another one, and of which backup it is."""
    told = {"at": now(), "backup": backup}
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute(queries.forget_fact.sql, {"name": STORE_ID})
        connection.execute(queries.set_fact.sql, {"name": RESTORED, "value": orjson.dumps(told).decode()})
        connection.commit()


def _holds_something(connection: sqlite3.Connection) -> bool:
    """Whether a meeting was ever stored, or a batch is waiting."""
    rows = "(SELECT 1 FROM meetings) OR EXISTS (SELECT 1 FROM operations) OR EXISTS (SELECT 1 FROM changes)"
    return bool(connection.execute(f"SELECT EXISTS {rows}").fetchone()[0])
