"""A backup as one file: the whole truth, compressed, behind a manifest of what it holds.

The file is a Zstandard file: a skippable frame with the manifest as JSON, then the SQLite database in one frame. So
`zstd -d` makes the database of it without cofio, and its first kilobytes tell what it is.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import shutil
import sqlite3
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO, Final
from urllib.parse import quote

import orjson
from backports import zstd
from filelock import FileLock, Timeout
from pydantic import TypeAdapter, ValidationError

import cofio
from cofio.errors import BackupUnderWay, DamagedBackup, NotFound, Unavailable
from cofio.store.durable import sync

SUFFIX: Final = ".sqlite3.zst"
LOCK_NAME: Final = "backups.lock"
# What is not finished has another name, and is removed by the next who makes a backup.
UNFINISHED: Final = (".part", ".copy", ".copy-journal", ".copy-wal", ".copy-shm")
# Shared by those who verify; who removes what killed ones left has it alone.
VERIFY_LOCK_NAME: Final = "verify.lock"
UNPACKED_PREFIX: Final = "cofio-verify-"

COMPRESSION: Final = 3  # vectors hardly shrink at any level
STEP_PAGES: Final = 2048  # 8 MiB: a step of some milliseconds, so that a backup can be left between two
CHUNK_BYTES: Final = 1 << 20

_MAGIC: Final = (0x184D2A50).to_bytes(4, "little")  # a skippable frame, RFC 8878 §3.1.2
_MANIFEST_BYTES: Final = 8192  # always so long, so that it can be written when all else is known


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """What a database holds: rows of each table, memories by level and by type, edges and concepts by kind."""

    rows: Mapping[str, int]
    memories_by_level: Mapping[str, int]
    memories_by_type: Mapping[str, int]
    edges_by_kind: Mapping[str, int]
    concepts_by_kind: Mapping[str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """What a backup holds. `migration` names the schema, `version` the last change of the truth.

    `size` in bytes and `sha256` are those of the database, uncompressed. Times are ISO instants in UTC.
    """

    created_at: str
    cofio: str
    migration: str | None
    encoder: str | None
    version: int
    counts: Counts
    size: int
    sha256: str


_MANIFEST: Final = TypeAdapter(Manifest)


def copy_database(source: Path, target: Path) -> None:
    """`target` is a database with the state that `source` had when this began; writers of `source` go on meanwhile.

    Works beside any process that has `source` open. Raises `sqlite3.DatabaseError`.
    """
    with contextlib.closing(connect(source)) as origin, contextlib.closing(sqlite3.connect(target)) as copy:
        # A read transaction fixes the state; without one, each commit of a writer would start the copy anew.
        origin.execute("BEGIN")
        origin.execute("SELECT count(*) FROM sqlite_schema").fetchone()
        origin.backup(copy, pages=STEP_PAGES)
        # One file that holds everything, not one with a log beside it.
        copy.execute("PRAGMA journal_mode = DELETE")


def connect(path: Path) -> sqlite3.Connection:
    """A connection to an existing database; raises `sqlite3.OperationalError` where there is none."""
    connection = sqlite3.connect(
        f"file:{quote(str(path.absolute()))}?mode=rw", uri=True, isolation_level=None, check_same_thread=False
    )
    connection.execute("PRAGMA busy_timeout = 10000")
    return connection


def write_archive(database: Path, folder: Path, *, note: str = "") -> Path:
    """A backup of the database as it is now lies in `folder`; returns its path.

    It has its name only when it is complete and on the disk; `note` is a part of the name. What a killed backup left
    is removed. Raises `NotFound` if there is no database, `BackupUnderWay` if another backup is being made there,
    `Unavailable` if the folder cannot be written or the database not be read.
    """
    if not database.is_file():
        raise NotFound(f"There is no database {database}.", field="data_dir")
    try:
        with _alone(folder):
            remove_unfinished(folder)
            now = datetime.now(UTC)
            name = f"cofio-{now:%Y%m%dT%H%M%S}.{now.microsecond // 1000:03}Z{note}"
            finished, part, copy = (folder / f"{name}{suffix}" for suffix in (SUFFIX, ".part", ".copy"))
            try:
                copy_database(database, copy)
                _pack(copy, part, now)
                part.rename(finished)
                sync(folder)
            finally:
                copy.unlink(missing_ok=True)
                part.unlink(missing_ok=True)
    except OSError as error:
        raise Unavailable(f"No backup can be written into {folder}: {error.strerror}.") from error
    except sqlite3.DatabaseError as error:
        raise Unavailable(f"The database {database} cannot be copied: {error}.") from error
    return finished


def archives_in(folder: Path) -> list[Path]:
    """The backups in a folder, the newest first: their names begin with the time."""
    return sorted(folder.glob(f"cofio-*{SUFFIX}"), reverse=True)


def nameless_copy(database: Path, folder: Path) -> sqlite3.Connection:
    """A connection to a copy of the database as it is now. The copy lies in `folder`, but no name leads to it.

    So its space is free again when the connection is closed, and nothing is left by a kill. Raises what
    `write_archive` raises.
    """
    if not database.is_file():
        raise NotFound(f"There is no database {database}.", field="data_dir")
    try:
        with _alone(folder):
            remove_unfinished(folder)
            copy = folder / "cofio-export.copy"
            try:
                copy_database(database, copy)
                connection = sqlite3.connect(
                    f"file:{quote(str(copy.absolute()))}?immutable=1", uri=True, check_same_thread=False
                )
                connection.execute(
                    "SELECT count(*) FROM sqlite_schema"
                ).fetchone()  # SQLite opens it only now
            finally:
                copy.unlink(missing_ok=True)
    except OSError as error:
        raise Unavailable(f"There is no room for a copy in {folder}: {error.strerror}.") from error
    except sqlite3.DatabaseError as error:
        raise Unavailable(f"The database {database} cannot be copied: {error}.") from error
    return connection


def read_manifest(archive: Path) -> Manifest:
    """What the backup says that it holds; raises `NotFound` or `DamagedBackup`."""
    with _open(archive) as file:
        return _read_manifest(file, archive)


def extract(archive: Path, target: Path) -> Manifest:
    """`target` is the database that the backup holds, byte for byte, and on the disk; returns the manifest.

    Raises `NotFound` if there is no such backup, and `DamagedBackup` if it is not whole.
    """
    digest, size = hashlib.sha256(), 0
    with _open(archive) as file, target.open("wb") as out:
        manifest = _read_manifest(file, archive)
        try:
            with zstd.open(file, "rb") as content:
                while chunk := content.read(CHUNK_BYTES):
                    digest.update(chunk)
                    size += len(chunk)
                    out.write(chunk)
        except (zstd.ZstdError, EOFError) as error:
            raise DamagedBackup(f"The backup {archive} is damaged: {error}.") from error
        out.flush()
        os.fsync(out.fileno())
    if (size, digest.hexdigest()) != (manifest.size, manifest.sha256):
        raise DamagedBackup(f"The backup {archive} is damaged: its content is not what its manifest says.")
    return manifest


def remove_unfinished(folder: Path) -> None:
    """What killed backups left in `folder` is gone; what killed verifications left too, unless somebody verifies now."""
    for path in folder.glob("cofio-*"):
        if path.name.endswith(UNFINISHED):
            path.unlink()
    _remove_unpacked(folder)


@contextlib.contextmanager
def unpacking_place(folder: Path) -> Iterator[Path]:
    """A new folder in `folder` for the length of the block, elsewhere where nothing can be written there.

    Where this process is killed, the next who verifies or makes a backup in `folder` removes it. What killed ones left
    is gone, unless somebody verifies now. Raises `OSError`.
    """
    with contextlib.ExitStack() as stack:
        beside = folder if os.access(folder, os.W_OK) else None
        if beside:
            _remove_unpacked(beside)
            # For reading, so that the file may be another user's.
            lock = os.open(beside / VERIFY_LOCK_NAME, os.O_RDONLY | os.O_CREAT, 0o644)
            stack.callback(os.close, lock)
            fcntl.flock(lock, fcntl.LOCK_SH)  # before there is anything to remove
        yield Path(stack.enter_context(tempfile.TemporaryDirectory(prefix=UNPACKED_PREFIX, dir=beside)))


def count(connection: sqlite3.Connection) -> Counts:
    """What the database holds."""
    tables = [
        name
        for (name,) in connection.execute(
            "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite%' "
            "AND name NOT LIKE '%yoyo%' ORDER BY name"
        )
    ]

    def grouped(query: str) -> dict[str, int]:
        return dict(connection.execute(query).fetchall())

    return Counts(
        # The names come from the schema, not from anybody's input.
        rows={t: int(connection.execute(f'SELECT count(*) FROM "{t}"').fetchone()[0]) for t in tables},  # noqa: S608  # nosec B608
        memories_by_level=grouped("SELECT 'L' || level, count(*) FROM memories GROUP BY level"),
        memories_by_type=grouped("SELECT memory_type, count(*) FROM memories GROUP BY memory_type"),
        edges_by_kind=grouped("SELECT kind, count(*) FROM edges GROUP BY kind"),
        concepts_by_kind=grouped(
            "SELECT details ->> 'concept_kind', count(*) FROM memories WHERE level = 0 GROUP BY 1"
        ),
    )


def newest_migration(connection: sqlite3.Connection) -> str | None:
    """The name of the last migration that was applied: the schema of the database."""
    row = connection.execute("SELECT max(migration_id) FROM _yoyo_migration").fetchone()
    return None if row[0] is None else str(row[0])


@contextlib.contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Nobody else makes a backup in `folder`, which is made if it is missing."""
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / LOCK_NAME)
    try:
        lock.acquire(timeout=0)
    except Timeout as error:
        raise BackupUnderWay(
            f"Another backup is being made in {folder}; try again when it is done."
        ) from error
    try:
        yield
    finally:
        lock.release()


def _remove_unpacked(folder: Path) -> None:
    """What killed verifications left is gone, unless somebody verifies now; a killed process lets go of its lock."""
    left = [path for path in folder.glob(f"{UNPACKED_PREFIX}*") if path.is_dir()]
    if not left:
        return
    # What is in use stays, and so does what another user left.
    with contextlib.suppress(OSError), (folder / VERIFY_LOCK_NAME).open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        for path in left:
            shutil.rmtree(path, ignore_errors=True)


def _pack(database: Path, target: Path, now: datetime) -> None:
    with contextlib.closing(connect(database)) as connection:
        encoder = connection.execute("SELECT value FROM facts WHERE name = 'encoder'").fetchone()
        version = connection.execute(
            "SELECT coalesce(max(seq), 0) FROM sqlite_sequence WHERE name = 'changes'"
        ).fetchone()
        counts, migration = count(connection), newest_migration(connection)
    digest, size = hashlib.sha256(), 0
    with database.open("rb") as source, target.open("wb") as out:
        _write_manifest(out, b"")
        with zstd.open(out, "wb", options={zstd.CompressionParameter.checksum_flag: 1,
                       zstd.CompressionParameter.compression_level: COMPRESSION}) as content:  # fmt: skip
            while chunk := source.read(CHUNK_BYTES):
                digest.update(chunk)
                size += len(chunk)
                content.write(chunk)
        manifest = Manifest(
            created_at=now.isoformat(timespec="milliseconds"),
            cofio=cofio.__version__,
            migration=migration,
            encoder=None if encoder is None else str(encoder[0]),
            version=int(version[0]),
            counts=counts,
            size=size,
            sha256=digest.hexdigest(),
        )
        out.seek(0)
        _write_manifest(out, orjson.dumps(asdict(manifest)))
        out.flush()
        os.fsync(out.fileno())


def _write_manifest(out: BinaryIO, manifest: bytes) -> None:
    if len(manifest) > _MANIFEST_BYTES:
        raise ValueError(f"a manifest of {len(manifest)} bytes has no room in {_MANIFEST_BYTES}")
    out.write(_MAGIC + _MANIFEST_BYTES.to_bytes(4, "little") + manifest.ljust(_MANIFEST_BYTES))


def _read_manifest(file: BinaryIO, archive: Path) -> Manifest:
    header = file.read(len(_MAGIC) + 4)
    text = file.read(_MANIFEST_BYTES)
    if header != _MAGIC + _MANIFEST_BYTES.to_bytes(4, "little"):
        raise DamagedBackup(f"{archive} is not a backup of cofio, or its beginning is damaged.")
    try:
        return _MANIFEST.validate_json(text.rstrip(b" "))
    except ValidationError as error:
        raise DamagedBackup(f"The backup {archive} is damaged: its manifest cannot be read.") from error


def _open(archive: Path) -> BinaryIO:
    try:
        return archive.open("rb")
    except FileNotFoundError as error:
        raise NotFound(f"There is no backup {archive}.", field="backup") from error
    except OSError as error:
        raise Unavailable(f"The backup {archive} cannot be read: {error.strerror}.") from error
