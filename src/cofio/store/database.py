"""SQLite, the truth: one writer, several readers, migrations, and the named queries of `sql/`."""

from __future__ import annotations

import asyncio
import contextlib
import queue
import sqlite3
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager, suppress
from datetime import UTC, datetime
from importlib import resources
from pathlib import Path
from typing import Any, Final, cast

import aiosql
import aiosqlite
import orjson
import structlog
import yoyo
from aiosql.adapters.aiosqlite import AioSQLiteAdapter

from cofio.errors import MAKE_ROOM, StorageFull, StoreBusy, StoreTooNew, StoreUnavailable, Unavailable
from cofio.store.archives import write_archive


class _OneTrip(AioSQLiteAdapter):
    """One way to the connection's thread and back for a statement; the library's own adapter takes three.

    An ingest has some thirty statements, and where all cores are busy a way costs a millisecond.
    """

    async def select(
        self,
        conn: aiosqlite.Connection,
        _query_name: str,
        sql: str,
        parameters: Any,
        record_class: None = None,
    ) -> AsyncIterator[sqlite3.Row]:
        for row in await conn.execute_fetchall(sql, parameters):
            yield row

    async def select_one(
        self,
        conn: aiosqlite.Connection,
        _query_name: str,
        sql: str,
        parameters: Any,
        record_class: None = None,
    ) -> sqlite3.Row | None:
        return next(iter(await conn.execute_fetchall(sql, parameters)), None)

    async def select_value(
        self, conn: aiosqlite.Connection, _query_name: str, sql: str, parameters: Any
    ) -> Any:
        row = await self.select_one(conn, _query_name, sql, parameters)
        return None if row is None else row[0]

    async def insert_returning(
        self, conn: aiosqlite.Connection, _query_name: str, sql: str, parameters: Any
    ) -> int:
        row = await conn.execute_insert(sql, parameters)
        return int(row[0]) if row is not None else 0

    async def insert_update_delete(
        self, conn: aiosqlite.Connection, _query_name: str, sql: str, parameters: Any
    ) -> None:
        await conn.execute_fetchall(sql, parameters)

    async def insert_update_delete_many(
        self, conn: aiosqlite.Connection, _query_name: str, sql: str, parameters: Any
    ) -> None:
        await conn.executemany(sql, parameters)  # a cursor without rows holds nothing that must be closed


# Every statement of the project lives in sql/*.sql under the name it is called by here.
queries: Final[Any] = aiosql.from_path(
    str(resources.files("cofio.store") / "sql"), cast("Any", _OneTrip), mandatory_parameters=False
)

_log = structlog.get_logger(__name__)

_MIGRATIONS: Final = str(resources.files("cofio.store") / "migrations")
_READERS: Final = 4
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
    """An open database file: `write()` gives the one writer in a transaction, `read()` one of the readers."""

    def __init__(
        self,
        path: Path,
        writer: aiosqlite.Connection,
        readers: list[aiosqlite.Connection],
        of_threads: list[sqlite3.Connection],
        watcher: sqlite3.Connection,
        pinged: aiosqlite.Connection,
    ) -> None:
        self.path = path
        self._writer = writer
        self._writing = asyncio.Lock()
        self._readers: asyncio.Queue[aiosqlite.Connection] = asyncio.Queue()
        self._all_readers = readers
        self._returning: set[asyncio.Task[None]] = set()
        self.scrubbed = True  # whether the log was empty when somebody last asked for that
        for reader in readers:
            self._readers.put_nowait(reader)
        self._of_threads: queue.SimpleQueue[sqlite3.Connection] = queue.SimpleQueue()
        for connection in of_threads:
            self._of_threads.put(connection)
        self._unscrubbed = False
        self._watcher = watcher
        self._pinged = (
            pinged  # nobody else's: that all readers are at work does not mean that the database is down
        )

    @classmethod
    async def open(cls, path: Path, backups: Path) -> Database:
        """The database at `path` is open and at the newest schema; a missing file is created.

        Before the schema of one that holds something is changed, a backup of it is written into `backups`. Raises
        `StoreTooNew` if a newer cofio wrote it, `Unavailable` if it cannot be opened or saved before.
        """
        try:
            await asyncio.to_thread(_migrate, path, backups)
            writer = await _connect(path)
            readers = [await _connect(path) for _ in range(_READERS)]
            of_threads = [await asyncio.to_thread(_connect_here, path) for _ in range(_READERS)]
            watcher = await asyncio.to_thread(_connect_here, path)
            pinged = await _connect(path)
        except sqlite3.DatabaseError as error:
            raise Unavailable(f"The database {path} cannot be opened: {error}.") from error
        database = cls(path, writer, readers, of_threads, watcher, pinged)
        # Whoever was killed after a deletion may have left what it removed in the log.
        await database.scrub()
        return database

    async def aclose(self) -> None:
        """Every connection is closed; what was committed is in the main file, unless there is no room for it."""
        async with self._writing:
            if self._returning:
                await asyncio.wait(self._returning)
            for reader in (*self._all_readers, self._pinged):
                await reader.close()
            for _ in range(_READERS):
                (await asyncio.to_thread(self._of_threads.get)).close()
            self._watcher.close()
            with suppress(sqlite3.OperationalError):  # a full disk: what was committed is safe in the log
                await self._writer.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            await self._writer.close()

    @asynccontextmanager
    async def write(self) -> AsyncIterator[aiosqlite.Connection]:
        """The writer inside one transaction: committed when the block ends, undone when it raises.

        Raises `StoreBusy` where others go on writing for too long, `StorageFull` or `StoreUnavailable`.
        """
        async with self._turn():
            with _told(self.path):
                try:
                    await self._writer.execute("BEGIN IMMEDIATE")
                    yield self._writer
                    await self._writer.commit()
                except BaseException:
                    # Of a caller that left while it waited for BEGIN too: the thread may still get that done.
                    await asyncio.shield(self._writer.rollback())
                    raise

    @asynccontextmanager
    async def _turn(self) -> AsyncIterator[None]:
        try:
            async with asyncio.timeout(TURN_WAIT_S):
                await self._writing.acquire()
        except TimeoutError as error:
            raise StoreBusy(
                f"Other writers of this process held the database for {TURN_WAIT_S:g} s."
            ) from error
        try:
            yield
        finally:
            self._writing.release()

    @asynccontextmanager
    async def read(self) -> AsyncIterator[aiosqlite.Connection]:
        """A reader that sees one state of the truth for the whole block; raises `StoreUnavailable`."""
        connection = await self._readers.get()
        try:
            with _told(self.path):
                await connection.execute("BEGIN")
                yield connection
        finally:
            # Also of a caller that is cancelled just here: a reader that stays away is away for good.
            back = asyncio.create_task(self._give_back(connection))
            self._returning.add(back)
            back.add_done_callback(self._returning.discard)
            await asyncio.shield(back)

    async def _give_back(self, reader: aiosqlite.Connection) -> None:
        try:
            await reader.rollback()
        finally:
            self._readers.put_nowait(reader)

    async def rows(self, query: Any, **values: object) -> list[sqlite3.Row]:
        """All rows of one named query, which sees one state of the truth."""
        return await asyncio.to_thread(self.select, query, **values)

    def select(self, query: Any, **values: object) -> list[sqlite3.Row]:
        """What `rows` returns, read in the calling thread, which waits: for threads that work on one request."""
        connection = self._of_threads.get()
        try:
            with _told(self.path):
                return connection.execute(query.sql, values).fetchall()
        finally:
            self._of_threads.put(connection)

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
        async with self._turn():
            with _told(self.path):
                # Readers that stay for long must not hold up the writers.
                await self._writer.execute(f"PRAGMA busy_timeout = {_SCRUB_WAIT_MS}")
                try:
                    result = await self._writer.execute_fetchall("PRAGMA wal_checkpoint(TRUNCATE)")
                finally:
                    await self._writer.execute(f"PRAGMA busy_timeout = {_BUSY_WAIT_MS}")
            ((busy, _, _),) = result
            if not busy:
                self._unscrubbed = False

    async def ping(self) -> None:
        """The database answers a read; raises `StoreUnavailable` if not."""
        with _told(self.path):
            await queries.version(self._pinged)

    async def damage(self) -> tuple[str, ...]:
        """What SQLite's own checks find wrong with the file, at most ten lines; they read all of it."""
        async with self.read() as connection:
            found = [row[0] for row in await connection.execute_fetchall("PRAGMA integrity_check(10)")]
            dangling = list(await connection.execute_fetchall("PRAGMA foreign_key_check"))
        told = [line for line in found if line != "ok"]
        if dangling:
            told.append(f"{len(dangling)} rows refer to rows that are not there")
        return tuple(told)

    async def counts(self) -> Mapping[str, int]:
        """How many meetings, memories of each level, edges and operations the truth holds."""
        async with self.read() as connection:
            row = await queries.counts(connection)
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
        async with self.read() as connection:
            return int(await queries.version(connection))


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


async def _connect(path: Path) -> aiosqlite.Connection:
    connection = await aiosqlite.connect(path, isolation_level=None)
    connection.row_factory = sqlite3.Row
    await connection.executescript(_PRAGMAS)
    return connection


def _connect_here(path: Path) -> sqlite3.Connection:
    """A reader that any one thread at a time may use."""
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    connection.row_factory = sqlite3.Row
    connection.executescript(_PRAGMAS)
    return connection


def _migrate(path: Path, backups: Path) -> None:
    """Applies what is missing of `migrations/`, each file with its note in one transaction, after a backup of what is there."""
    backend = yoyo.get_backend(f"sqlite:///{path}")
    try:
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
            # store that no version can open. The directory lock already keeps others out; yoyo's own lock would
            # outlive a killed process.
            with backend.transaction():
                migration.process_steps(backend, "apply")
                backend.mark_one(migration)
    finally:
        backend.connection.close()


def newest_known_migration() -> str:
    """The name of the newest migration of this version of cofio."""
    return max(str(migration.id) for migration in yoyo.read_migrations(_MIGRATIONS))


def note_restored(path: Path, backup: str) -> None:
    """Whoever opens this database next knows that index and graph may be those of another one, and of which backup it is."""
    told = {"at": datetime.now(UTC).isoformat(timespec="milliseconds"), "backup": backup}
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute(queries.forget_fact.sql, {"name": STORE_ID})
        connection.execute(queries.set_fact.sql, {"name": RESTORED, "value": orjson.dumps(told).decode()})
        connection.commit()


def _holds_something(connection: sqlite3.Connection) -> bool:
    """Whether a meeting was ever stored, or a batch is waiting."""
    rows = "(SELECT 1 FROM meetings) OR EXISTS (SELECT 1 FROM operations) OR EXISTS (SELECT 1 FROM changes)"
    return bool(connection.execute(f"SELECT EXISTS {rows}").fetchone()[0])
