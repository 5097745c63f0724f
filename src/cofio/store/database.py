"""SQLite, the truth: one writer, several readers, migrations, and the named queries of `sql/`."""

from __future__ import annotations

import asyncio
import queue
import sqlite3
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from importlib import resources
from pathlib import Path
from typing import Any, Final, cast

import aiosql
import aiosqlite
import yoyo
from aiosql.adapters.aiosqlite import AioSQLiteAdapter

from cofio.errors import StoreTooNew, Unavailable


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

_MIGRATIONS: Final = str(resources.files("cofio.store") / "migrations")
_READERS: Final = 4

# FULL: a commit that was acknowledged survives a power cut, not only a kill. secure_delete: what a deletion
# removes is overwritten, so that nothing of it stays behind in the file.
_PRAGMAS: Final = """
PRAGMA journal_mode = WAL;
PRAGMA synchronous = FULL;
PRAGMA foreign_keys = ON;
PRAGMA secure_delete = ON;
PRAGMA busy_timeout = 10000;
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
    ) -> None:
        self.path = path
        self._writer = writer
        self._writing = asyncio.Lock()
        self._readers: asyncio.Queue[aiosqlite.Connection] = asyncio.Queue()
        self._all_readers = readers
        for reader in readers:
            self._readers.put_nowait(reader)
        self._of_threads: queue.SimpleQueue[sqlite3.Connection] = queue.SimpleQueue()
        for connection in of_threads:
            self._of_threads.put(connection)

    @classmethod
    async def open(cls, path: Path) -> Database:
        """The database at `path` is open and at the newest schema; a missing file is created.

        Raises `StoreTooNew` if a newer cofio wrote it, `Unavailable` if it cannot be opened.
        """
        try:
            await asyncio.to_thread(_migrate, path)
            writer = await _connect(path)
            readers = [await _connect(path) for _ in range(_READERS)]
            of_threads = [await asyncio.to_thread(_connect_here, path) for _ in range(_READERS)]
        except sqlite3.DatabaseError as error:
            raise Unavailable(f"The database {path} cannot be opened: {error}.") from error
        return cls(path, writer, readers, of_threads)

    async def aclose(self) -> None:
        """Every connection is closed; what was committed is in the main file."""
        async with self._writing:
            for reader in self._all_readers:
                await reader.close()
            for _ in range(_READERS):
                (await asyncio.to_thread(self._of_threads.get)).close()
            await self._writer.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            await self._writer.close()

    @asynccontextmanager
    async def write(self) -> AsyncIterator[aiosqlite.Connection]:
        """The writer inside one transaction: committed when the block ends, undone when it raises."""
        async with self._writing:
            await self._writer.execute("BEGIN IMMEDIATE")
            try:
                yield self._writer
                await self._writer.commit()
            except BaseException:
                await asyncio.shield(self._writer.rollback())
                raise

    @asynccontextmanager
    async def read(self) -> AsyncIterator[aiosqlite.Connection]:
        """A reader that sees one state of the truth for the whole block."""
        connection = await self._readers.get()
        try:
            await connection.execute("BEGIN")
            yield connection
        finally:
            await asyncio.shield(connection.rollback())
            self._readers.put_nowait(connection)

    async def rows(self, query: Any, **values: object) -> list[sqlite3.Row]:
        """All rows of one named query, which sees one state of the truth."""
        return await asyncio.to_thread(self.select, query, **values)

    def select(self, query: Any, **values: object) -> list[sqlite3.Row]:
        """What `rows` returns, read in the calling thread, which waits: for threads that work on one request."""
        connection = self._of_threads.get()
        try:
            return connection.execute(query.sql, values).fetchall()
        finally:
            self._of_threads.put(connection)

    async def scrub(self) -> None:
        """The write-ahead log is empty: what was deleted is gone from it too."""
        async with self._writing:
            await self._writer.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    async def ping(self) -> None:
        """The database answers a read; raises `sqlite3.Error` if not."""
        async with self.read() as connection:
            await queries.version(connection)

    async def counts(self) -> Mapping[str, int]:
        """How many meetings, memories of each level, edges and operations the truth holds."""
        async with self.read() as connection:
            row = await queries.counts(connection)
        return dict(zip(row.keys(), row, strict=True))

    async def version(self) -> int:
        """The version of the truth: it grows with every committed change."""
        async with self.read() as connection:
            return int(await queries.version(connection))


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


def _migrate(path: Path) -> None:
    """Applies what is missing of `migrations/`, each file in its own transaction."""
    backend = yoyo.get_backend(f"sqlite:///{path}")
    try:
        known = yoyo.read_migrations(_MIGRATIONS)
        applied = set(backend.get_applied_migration_hashes())
        if unknown := applied - {migration.hash for migration in known}:
            raise StoreTooNew(
                f"The database {path} has {len(unknown)} migration(s) that this version of cofio does not know. "
                "Start the version that wrote it, or restore an older backup."
            )
        # The directory lock already keeps others out; yoyo's own lock would outlive a killed process.
        backend.apply_migrations(backend.to_apply(known))
    finally:
        backend.connection.close()
