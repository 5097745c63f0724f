"""Backups of a data directory: made while it serves, listed, verified, restored.

A backup holds the truth alone. The vector index and the graph are made from it when the restored directory is first
opened, without the model.
"""

from __future__ import annotations

import contextlib
import shutil
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import structlog

from cofio.data_dir import DATABASE_NAME, GRAPH_NAME, VECTORS_NAME, held
from cofio.errors import DamagedBackup, InvalidInput, NotFound, StoreTooNew, Unavailable
from cofio.store import audit
from cofio.store.archives import (
    Manifest,
    archives_in,
    connect,
    count,
    extract,
    newest_migration,
    read_manifest,
    unpacking_place,
    write_archive,
)
from cofio.store.audit import LOCAL
from cofio.store.database import newest_known_migration, note_restored
from cofio.store.durable import sync

_log = structlog.get_logger(__name__)

RESTORING_NAME: Final = "restoring"  # the new database, until it takes the old one's place
REPLACED_NAME: Final = "replaced"  # what was there before, until the new database is in its place


@dataclass(frozen=True, slots=True, kw_only=True)
class Backup:
    """A backup in its folder. `manifest` is None, and `fault` says why, where it cannot be read."""

    name: str
    bytes: int
    manifest: Manifest | None
    fault: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Verification:
    """What was found to be as the manifest says: bytes hashed, pages checked by SQLite, and counts compared."""

    name: str
    manifest: Manifest
    hashed_bytes: int
    checked_pages: int
    compared_counts: int


def create_backup(data_dir: Path, folder: Path, *, keep: int | None = None, actor: str = LOCAL) -> Backup:
    """A backup of what was committed in `data_dir` before the call lies in `folder`; a service may go on meanwhile.

    With `keep`, only that many of the newest backups are left in the folder. The audit tells it. Raises `NotFound`, `BackupUnderWay` or
    `Unavailable`; then there is no new backup, and none is removed.
    """
    archive = write_archive(data_dir / DATABASE_NAME, folder)
    removed: list[Path] = []
    if keep is not None:
        # The one just made stays, also where the clock was set back and the others bear later dates.
        removed = [other for other in archives_in(folder) if other != archive][keep - 1 :]
        for old in removed:
            old.unlink(missing_ok=True)  # another backup may thin them out too
        sync(folder)
    made = _described(archive)
    details = {"bytes": made.bytes, "removed_backups": len(removed)}
    audit.note(data_dir / DATABASE_NAME, actor=actor, action="backup", subject=made.name, details=details)
    return made


def list_backups(folder: Path) -> tuple[Backup, ...]:
    """The backups in `folder`, the newest first; those that cannot be read are told too."""
    found = []
    for archive in archives_in(folder):
        with contextlib.suppress(NotFound, FileNotFoundError):  # it was removed meanwhile
            found.append(_described(archive))
    return tuple(found)


def verify_backup(archive: Path) -> Verification:
    """The backup can be restored: it was, in a temporary place beside it, and compared with its manifest.

    Beside it, since a container's temporary files are held in memory, and bounded; elsewhere where nothing can be
    written there. What a killed verification left beside it is gone, unless somebody else verifies there now.
    Raises `NotFound`, `DamagedBackup` with what is wrong, or `Unavailable` where there is no room.
    """
    try:
        with unpacking_place(archive.parent) as place:
            return _extracted(archive, place / DATABASE_NAME)
    except OSError as error:
        raise Unavailable(
            f"The backup {archive} cannot be verified: {error.strerror}. It is unpacked for that, which takes as much room "
            "as its database."
        ) from error


def restore_backup(archive: Path, data_dir: Path, *, replace: bool = False) -> Verification:
    """`data_dir` holds what the backup holds; index and graph are made anew when it is first opened.

    A store that was there is replaced only if `replace` says so, and only once the backup was verified. Whoever is
    killed before that leaves the old store in its place, whoever is killed after it the new one. Raises `StoreInUse`
    while a process holds the directory, `NotFound`, `DamagedBackup`, `StoreTooNew` or `Unavailable`; then the old store
    is as it was.
    """
    manifest = read_manifest(archive)
    known = newest_known_migration()
    if manifest.migration is not None and manifest.migration > known:
        raise StoreTooNew(
            f"The backup {archive} has the schema {manifest.migration}; this version of cofio knows none after "
            f"{known}. Restore it with version {manifest.cofio} or a newer one."
        )
    with held(data_dir), _writable(data_dir):
        database = data_dir / DATABASE_NAME
        if database.exists() and not replace:
            raise InvalidInput(
                f"{data_dir} holds a store already. Choose another --data-dir, or say --replace.",
                field="data_dir",
            )
        _tidy(data_dir)
        restoring = data_dir / RESTORING_NAME
        try:
            verified = _extracted(archive, restoring)
            note_restored(restoring, archive.name)
            sync(restoring)
        except BaseException:
            restoring.unlink(missing_ok=True)
            raise
        _put_in_place(restoring, data_dir)
        _tidy(data_dir)
    return verified


def _put_in_place(restoring: Path, data_dir: Path) -> None:
    """The one step that counts is the last: a file takes the place of another."""
    database, aside = data_dir / DATABASE_NAME, data_dir / REPLACED_NAME
    aside.mkdir()
    if database.exists():
        _empty_log(database)
    # From here on an old database needs nothing beside itself. Also where it was lost: SQLite would write what its log
    # still holds into the one that takes its place.
    for name in (f"{DATABASE_NAME}-wal", f"{DATABASE_NAME}-shm", GRAPH_NAME, VECTORS_NAME):
        with contextlib.suppress(FileNotFoundError):
            (data_dir / name).rename(aside / name)
    sync(data_dir)
    restoring.replace(database)
    sync(data_dir)


def _empty_log(database: Path) -> None:
    """What the old database's log holds is in its main file, if it can still be read."""
    try:
        with contextlib.closing(connect(database)) as connection:
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    except sqlite3.DatabaseError as error:
        _log.warning("replaced_database_damaged", reason=str(error))


def _tidy(data_dir: Path) -> None:
    """Nothing of this restore, or of one that was killed, is left beside the store."""
    (data_dir / RESTORING_NAME).unlink(missing_ok=True)
    shutil.rmtree(data_dir / REPLACED_NAME, ignore_errors=True)


def _extracted(archive: Path, target: Path) -> Verification:
    """`target` is the database of the backup, checked in every way; raises `DamagedBackup`."""
    manifest = extract(archive, target)
    try:
        with contextlib.closing(connect(target)) as connection:
            found = [row[0] for row in connection.execute("PRAGMA integrity_check(10)")]
            orphans = len(connection.execute("PRAGMA foreign_key_check").fetchall())
            counts, migration = count(connection), newest_migration(connection)
            pages = int(connection.execute("PRAGMA page_count").fetchone()[0])
    except sqlite3.DatabaseError as error:
        raise DamagedBackup(f"The database in the backup {archive} cannot be read: {error}.") from error
    if found != ["ok"]:
        raise DamagedBackup(f"The database in the backup {archive} is damaged: {'; '.join(found)}.")
    if orphans:
        raise DamagedBackup(f"In the backup {archive} {orphans} rows refer to rows that are not there.")
    if (counts, migration) != (manifest.counts, manifest.migration):
        raise DamagedBackup(f"The backup {archive} does not hold what its manifest counts.")
    return Verification(
        name=archive.name,
        manifest=manifest,
        hashed_bytes=manifest.size,
        checked_pages=pages,
        compared_counts=sum(
            len(group)
            for group in (
                counts.rows,
                counts.memories_by_level,
                counts.memories_by_type,
                counts.edges_by_kind,
                counts.concepts_by_kind,
            )
        ),
    )


def _described(archive: Path) -> Backup:
    try:
        manifest, fault = read_manifest(archive), None
    except (DamagedBackup, Unavailable) as error:
        manifest, fault = None, error.detail
    return Backup(name=archive.name, bytes=archive.stat().st_size, manifest=manifest, fault=fault)


@contextlib.contextmanager
def _writable(data_dir: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise Unavailable(f"Nothing can be restored into {data_dir}: {error.strerror}.") from error
