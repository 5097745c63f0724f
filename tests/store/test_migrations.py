"""Stores of earlier schemas, written by the code of their time, are brought forward; what fails leaves them as they were.

`tests/data/schema-*.sql` are dumps of stores that the last version with that schema wrote: two meetings each.
"""

from __future__ import annotations

import contextlib
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hash_encoder import HashEncoder

from cofio import backups
from cofio.data_dir import DATABASE_NAME
from cofio.errors import StoreTooNew, Unavailable
from cofio.ingest import ingest
from cofio.maintain import delete_meeting, doctor
from cofio.query import recall
from cofio.records import MeetingInput, Question
from cofio.runtime import open_runtime
from cofio.settings import Settings
from cofio.store import database
from cofio.store.archives import extract, newest_migration
from cofio.store.database import Database

DUMPS = sorted((Path(__file__).parents[1] / "data").glob("schema-*.sql"))


def _store(folder: Path, dump: Path) -> Path:
    """A data directory with the dumped database."""
    folder.mkdir()
    with contextlib.closing(sqlite3.connect(folder / DATABASE_NAME)) as connection:
        connection.executescript(dump.read_text(encoding="utf-8"))
    return folder


def _dump(path: Path) -> list[str]:
    with contextlib.closing(sqlite3.connect(path)) as connection:
        return list(connection.iterdump())


@pytest.mark.parametrize("dump", DUMPS, ids=[dump.stem for dump in DUMPS])
async def test_an_old_store_is_brought_forward_after_a_backup(tmp_path: Path, dump: Path) -> None:
    store = _store(tmp_path / "store", dump)
    before = _dump(store / DATABASE_NAME)
    async with open_runtime(Settings(data_dir=store), HashEncoder()) as runtime:
        assert (await doctor(runtime, repair=False)).problems == ()
        assert runtime.live.current.counts["meetings"] == 2
        answer = await recall(runtime, Question(query="Who pays for the gasket of the Aurora gateway?"))
        said = [memory.content for memory in answer.direct_results["L2"]]
        assert "Who pays for the gasket of the Aurora gateway?" in said
        assert any("winter budget" in content for content in said)
        concepts = {memory.metadata.label: memory for memory in answer.direct_results["L0"]}
        assert concepts["Aurora"].metadata.mentions == 3
        third = MeetingInput(
            title="Gateway three",
            transcript="Ann Moe: The Aurora gateway has its gasket now.",
            project="aurora",
        )
        await ingest(runtime, third)
        meetings = await runtime.database.rows(database.queries.all_meeting_keys)
        assert len(meetings) == 3
        answer = await recall(runtime, Question(query="Aurora"))
        assert answer.direct_results["L0"][0].metadata.mentions == 4
        first = next(m for m in answer.direct_results["L2"] if m.metadata.title == "Gateway one")
        assert first.metadata.meeting_id is not None
        await delete_meeting(runtime, first.metadata.meeting_id)
        assert (await doctor(runtime, repair=False)).problems == ()

    (made,) = backups.list_backups(store / "backups")
    assert f"-before-{database.newest_known_migration()}" in made.name
    verified = backups.verify_backup(store / "backups" / made.name)
    assert (verified.manifest.migration or "").startswith(dump.stem.removeprefix("schema-"))
    old = tmp_path / "old"
    old.mkdir()
    extract(store / "backups" / made.name, old / DATABASE_NAME)
    assert _dump(old / DATABASE_NAME) == before


async def test_a_new_store_needs_no_backup(tmp_path: Path) -> None:
    for _ in range(2):
        async with open_runtime(Settings(data_dir=tmp_path / "store"), HashEncoder()):
            pass
    assert not (tmp_path / "store" / "backups").exists()


async def test_a_store_whose_first_start_was_killed_can_be_opened(tmp_path: Path) -> None:
    """As `yoyo` leaves it that is killed while it makes its own tables: with its lock taken, by nobody any more."""
    path = tmp_path / DATABASE_NAME
    with contextlib.closing(sqlite3.connect(path)) as connection, connection:
        connection.execute(
            "CREATE TABLE yoyo_lock (locked INT DEFAULT 1, ctime TIMESTAMP, pid INT NOT NULL, PRIMARY KEY (locked))"
        )
        connection.execute("INSERT INTO yoyo_lock VALUES (1, '2026-11-22 22:50:00', 20887)")
    await (await Database.open(path, tmp_path / "backups")).aclose()
    with contextlib.closing(sqlite3.connect(path)) as connection:
        assert newest_migration(connection) == database.newest_known_migration()


async def test_without_its_backup_nothing_is_migrated(tmp_path: Path) -> None:
    store = _store(tmp_path / "store", DUMPS[0])
    before = _dump(store / DATABASE_NAME)
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(Unavailable, match="backup"):
        await Database.open(store / DATABASE_NAME, tmp_path / "file")
    assert _dump(store / DATABASE_NAME) == before


@pytest.fixture
def migrations(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the migrations, which a test may add to."""
    folder = tmp_path / "migrations"
    shutil.copytree(database._MIGRATIONS, folder)
    monkeypatch.setattr(database, "_MIGRATIONS", str(folder))
    return folder


def _schema(path: Path) -> tuple[list[str], str | None]:
    with contextlib.closing(sqlite3.connect(path)) as connection:
        tables = [row[0] for row in connection.execute("SELECT sql FROM sqlite_schema ORDER BY name")]
        return tables, newest_migration(connection)


async def test_a_failing_migration_leaves_the_schema_before_it(tmp_path: Path, migrations: Path) -> None:
    store = _store(tmp_path / "store", DUMPS[-1])
    newest = database.newest_known_migration()
    (migrations / "9998-fine.sql").write_text(f"-- depends: {newest}\nCREATE TABLE fine (x INTEGER);\n")
    bad = migrations / "9999-bad.sql"
    bad.write_text(
        "-- depends: 9998-fine\nALTER TABLE meetings ADD COLUMN mood TEXT;\nDELETE FROM edges;\nSELECT nonsense;\n"
    )
    with pytest.raises(Unavailable, match="nonsense"):
        await Database.open(store / DATABASE_NAME, store / "backups")
    tables, migration = _schema(store / DATABASE_NAME)
    assert migration == "9998-fine"
    assert "CREATE TABLE fine (x INTEGER)" in tables
    assert not any("mood" in (table or "") for table in tables)
    with contextlib.closing(sqlite3.connect(store / DATABASE_NAME)) as connection:
        assert connection.execute("SELECT count(*) FROM edges").fetchone()[0] > 20
    bad.write_text("-- depends: 9998-fine\nALTER TABLE meetings ADD COLUMN mood TEXT;\n")
    await (await Database.open(store / DATABASE_NAME, store / "backups")).aclose()
    assert _schema(store / DATABASE_NAME)[1] == "9999-bad"


async def test_a_migration_and_its_note_are_one_transaction(tmp_path: Path, migrations: Path) -> None:
    """Done but not noted, it would be done again, and no version could open the store any more."""
    store = _store(tmp_path / "store", DUMPS[-1])
    await (await Database.open(store / DATABASE_NAME, store / "backups")).aclose()
    newest = database.newest_known_migration()
    (migrations / "9999-more.sql").write_text(
        f"-- depends: {newest}\nALTER TABLE meetings ADD COLUMN mood TEXT;\n"
    )
    with contextlib.closing(sqlite3.connect(store / DATABASE_NAME)) as connection:
        connection.execute(
            "CREATE TRIGGER unnoted BEFORE INSERT ON _yoyo_migration BEGIN SELECT RAISE(ABORT, 'not noted'); END"
        )
        connection.commit()
    with pytest.raises(Unavailable, match="not noted"):
        await Database.open(store / DATABASE_NAME, store / "backups")
    tables, migration = _schema(store / DATABASE_NAME)
    assert migration == newest
    assert not any("mood" in (table or "") for table in tables)


_OPEN = """
import asyncio, sys
from pathlib import Path
from cofio.store import database
database._MIGRATIONS = sys.argv[1]
asyncio.run(database.Database.open(Path(sys.argv[2]), Path(sys.argv[3])))
"""


async def test_a_killed_migration_leaves_the_schema_before_it(tmp_path: Path, migrations: Path) -> None:
    store = _store(tmp_path / "store", DUMPS[-1])
    path = store / DATABASE_NAME
    await (await Database.open(path, store / "backups")).aclose()
    newest = database.newest_known_migration()
    before = _dump(path)
    (migrations / "9999-slow.sql").write_text(
        f"-- depends: {newest}\nALTER TABLE meetings ADD COLUMN mood TEXT;\nDELETE FROM edges;\n"
        "CREATE TABLE slow AS WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1000000000) "
        "SELECT max(i) AS i FROM n;\n"
    )
    command = [sys.executable, "-c", _OPEN, str(migrations), str(path), str(store / "backups")]
    process = subprocess.Popen(command)
    deadline = time.monotonic() + 60
    locked = 0
    while locked < 5:  # in a row: the migration is in its long last statement
        assert time.monotonic() < deadline
        assert process.poll() is None
        time.sleep(0.05)
        locked = locked + 1 if _is_being_written(path) else 0
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert _dump(path) == before
    with contextlib.closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    (migrations / "9999-slow.sql").unlink()
    await (await Database.open(path, store / "backups")).aclose()


def _is_being_written(path: Path) -> bool:
    with contextlib.closing(sqlite3.connect(path, timeout=0)) as connection:
        try:
            connection.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError:
            return True
    return False


async def test_a_store_of_a_newer_version_is_refused_in_one_sentence(tmp_path: Path) -> None:
    store = _store(tmp_path / "store", DUMPS[-1])
    with contextlib.closing(sqlite3.connect(store / DATABASE_NAME)) as connection:
        connection.execute(
            "INSERT INTO _yoyo_migration (migration_hash, migration_id) VALUES ('ff', '9999-future')"
        )
        connection.commit()
    before = _dump(store / DATABASE_NAME)
    with pytest.raises(StoreTooNew, match=r"does not know\. Start the version that wrote it"):
        await Database.open(store / DATABASE_NAME, store / "backups")
    assert _dump(store / DATABASE_NAME) == before
