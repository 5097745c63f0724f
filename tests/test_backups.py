"""Backups: made while others write, complete or not there, verified, and restored to the same answers."""

from __future__ import annotations

import asyncio
import contextlib
import os
import resource
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from backports import zstd
from hash_encoder import HashEncoder
from in_process import client
from test_kill import meeting

from cofio import backups
from cofio.backups import create_backup, list_backups, restore_backup, verify_backup
from cofio.data_dir import DATABASE_NAME
from cofio.errors import (
    BackupUnderWay,
    DamagedBackup,
    InvalidInput,
    NotFound,
    StoreInUse,
    StoreTooNew,
    Unavailable,
)
from cofio.ingest import ingest
from cofio.maintain import delete_meeting, doctor
from cofio.query import recall
from cofio.records import Answer, Question
from cofio.runtime import Runtime, open_runtime
from cofio.settings import Settings
from cofio.store import archives

TESTS = Path(__file__).parent
QUESTIONS = ("Who calls the supplier?", "What waits for the gasket?", "Aurora battery cover", "Ben")


def _open(data_dir: Path) -> contextlib.AbstractAsyncContextManager[Runtime]:
    return open_runtime(Settings(data_dir=data_dir), HashEncoder())


async def _answers(runtime: Runtime) -> list[Answer]:
    answers = [await recall(runtime, Question(query=query)) for query in QUESTIONS]
    return [replace(answer, processing_time_ms=0.0, stages_ms={}) for answer in answers]


async def test_a_restored_backup_answers_as_the_original_did(tmp_path: Path) -> None:
    async with _open(tmp_path / "store") as runtime:
        for i in range(4):
            await ingest(runtime, meeting(i))
        made = await asyncio.to_thread(create_backup, tmp_path / "store", tmp_path / "backups")
        expected = await _answers(runtime)
        await ingest(runtime, meeting(99))
    archive = tmp_path / "backups" / made.name
    assert made.manifest is not None
    assert made.manifest.counts.rows["meetings"] == 4
    assert made.manifest.counts.memories_by_level["L2"] == 16
    assert made.manifest.encoder == "hash"
    verified = verify_backup(archive)
    assert verified.hashed_bytes == made.manifest.size
    assert verified.checked_pages > 10
    assert verified.compared_counts > 15
    assert not list((tmp_path / "backups").glob("*.part"))

    restore_backup(archive, tmp_path / "elsewhere")
    async with _open(tmp_path / "elsewhere") as runtime:
        assert await _answers(runtime) == expected
        assert (await doctor(runtime, repair=False)).problems == ()
        assert (await ingest(runtime, meeting(0))).outcome == "unchanged"


async def test_a_store_is_replaced_only_on_request_with_its_index_and_graph(tmp_path: Path) -> None:
    store, folder = tmp_path / "store", tmp_path / "backups"
    async with _open(store) as runtime:
        await ingest(runtime, meeting(1))
        made = await asyncio.to_thread(create_backup, store, folder)
        await ingest(runtime, meeting(2))
        with pytest.raises(StoreInUse):
            await asyncio.to_thread(restore_backup, folder / made.name, store, replace=True)
    with pytest.raises(InvalidInput, match="--replace"):
        restore_backup(folder / made.name, store)
    (store / backups.REPLACED_NAME).mkdir()  # what a killed restore leaves
    (store / backups.RESTORING_NAME).write_bytes(b"half")
    restore_backup(folder / made.name, store, replace=True)
    assert not (store / backups.REPLACED_NAME).exists()
    assert not (store / backups.RESTORING_NAME).exists()
    async with _open(store) as runtime:
        assert runtime.live.current.counts["meetings"] == 1
        assert (await doctor(runtime, repair=False)).problems == ()
        assert await runtime.database.fact("restored") is None


async def test_the_log_of_a_lost_database_does_not_come_back_into_the_restored_one(tmp_path: Path) -> None:
    store, folder, lost = tmp_path / "store", tmp_path / "backups", tmp_path / "lost"
    async with _open(store) as runtime:
        await ingest(runtime, meeting(1))
        made = await asyncio.to_thread(create_backup, store, folder)
        await ingest(runtime, meeting(2))
        shutil.copytree(store, lost)  # as a kill leaves it: what is newest is in the log
    (lost / DATABASE_NAME).unlink()
    assert (lost / f"{DATABASE_NAME}-wal").stat().st_size > 0
    restore_backup(folder / made.name, lost)
    async with _open(lost) as runtime:
        assert runtime.live.current.counts["meetings"] == 1
        assert (await doctor(runtime, repair=False)).problems == ()


async def test_an_index_of_another_truth_is_emptied_after_a_restore(tmp_path: Path) -> None:
    """As with a vector server, whose collections a restore cannot set aside."""
    store, folder = tmp_path / "store", tmp_path / "backups"
    async with _open(store) as runtime:
        await ingest(runtime, meeting(1))
        made = await asyncio.to_thread(create_backup, store, folder)
        await ingest(runtime, meeting(2))
    (store / "vectors").rename(tmp_path / "vectors")
    restore_backup(folder / made.name, store, replace=True)
    (tmp_path / "vectors").rename(store / "vectors")
    async with _open(store) as runtime:
        assert (await doctor(runtime, repair=False)).problems == ()


async def test_a_backup_beside_writers_holds_whole_meetings_and_all_that_was_acknowledged(
    tmp_path: Path,
) -> None:
    store, folder = tmp_path / "store", tmp_path / "backups"
    async with _open(store) as runtime:
        acknowledged: list[int] = []
        stop = asyncio.Event()

        async def write() -> None:
            i = 0
            while not stop.is_set():
                receipt = await ingest(runtime, meeting(i))
                acknowledged.append(i)
                if i % 3 == 2:
                    await delete_meeting(runtime, receipt.meeting_id)
                i += 1

        writing = asyncio.create_task(write())
        made: list[tuple[int, str]] = []
        while len(made) < 3:
            before = len(acknowledged)
            made.append((before, (await asyncio.to_thread(create_backup, store, folder)).name))
        stop.set()
        await writing
    assert len({name for _, name in made}) == 3
    for before, name in made:
        verify_backup(folder / name)
        archives.extract(folder / name, tmp_path / "db")
        with contextlib.closing(sqlite3.connect(tmp_path / "db")) as connection:
            rows = connection.execute(
                "SELECT g.title, count(*) FROM meetings g JOIN memories m ON m.meeting = g.id AND m.level = 2 "
                "GROUP BY g.id"
            ).fetchall()
        assert {episodes for _, episodes in rows} <= {4}
        kept = {f"Sync {i}" for i in range(before) if i % 3 != 2}
        assert kept <= {title for title, _ in rows}


def test_a_copy_is_of_one_state_however_much_is_written_meanwhile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without its read transaction, the copy would begin anew after each of these commits.

    The connection is a real one, which copies in small steps and lets another commit after each: that commits of
    others always fall between two steps cannot be brought about from outside.
    """
    source = tmp_path / "source"
    with contextlib.closing(sqlite3.connect(source, isolation_level=None)) as writer:
        writer.executescript("PRAGMA journal_mode = WAL; CREATE TABLE t (x BLOB)")
        writer.executemany("INSERT INTO t VALUES (?)", [(os.urandom(4000),)] * 400)
        steps: list[int] = []

        class Stepwise(sqlite3.Connection):
            def backup(self, target: sqlite3.Connection, **_: object) -> None:
                def commit(status: int, remaining: int, total: int) -> None:
                    writer.execute("INSERT INTO t VALUES (?)", (os.urandom(4000),))
                    steps.append(remaining)

                super().backup(target, pages=20, progress=commit)

        monkeypatch.setattr(
            archives, "connect", lambda path: sqlite3.connect(path, isolation_level=None, factory=Stepwise)
        )
        archives.copy_database(source, tmp_path / "copy")
    assert len(steps) > 10
    assert steps == sorted(steps, reverse=True)
    with contextlib.closing(sqlite3.connect(tmp_path / "copy")) as copy:
        assert copy.execute("SELECT count(*) FROM t").fetchone() == (400,)


_FOREVER = """
import sys
from pathlib import Path
from cofio.backups import create_backup
while True:
    create_backup(Path(sys.argv[1]), Path(sys.argv[2]), keep=1)
    print("made", flush=True)
"""


async def test_a_killed_backup_has_no_name_and_leaves_nothing(tmp_path: Path) -> None:
    store, folder = tmp_path / "store", tmp_path / "backups"
    async with _open(store) as runtime:
        for i in range(5):
            await ingest(runtime, meeting(i))
        for delay_s in (0.002, 0.005, 0.01, 0.02):
            command = [sys.executable, "-c", _FOREVER, str(store), str(folder)]
            process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
            assert process.stdout is not None
            await asyncio.to_thread(process.stdout.readline)
            await asyncio.sleep(delay_s)
            process.send_signal(signal.SIGKILL)
            process.stdout.close()
            process.wait()
            for backup in list_backups(folder):
                verify_backup(folder / backup.name)
        for suffix in (".part", ".copy", ".copy-journal", ".copy-wal", ".copy-shm"):
            (folder / f"cofio-20200101T000000.000Z{suffix}").write_bytes(b"half")
        await asyncio.to_thread(create_backup, store, folder, keep=1)
    assert {path.name for path in folder.iterdir()} - {archives.LOCK_NAME, archives.VERIFY_LOCK_NAME} == {
        backup.name for backup in list_backups(folder)
    }
    assert len(list_backups(folder)) == 1


# Verifies a backup, and stops for good when it is unpacked, with nothing done to the database yet.
_UNPACKED = """
import signal, sys
from pathlib import Path
from cofio import backups
def stop(database):
    print("unpacked", flush=True)
    signal.pause()
backups.connect = stop
backups.verify_backup(Path(sys.argv[1]))
"""


@contextlib.contextmanager
def _unpacked(archive: Path) -> Iterator[None]:
    """Another process has unpacked the backup and goes no further; it is killed at the end."""
    command = [sys.executable, "-c", _UNPACKED, str(archive)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "unpacked\n"
            yield
        finally:
            process.kill()


async def test_what_a_killed_verification_unpacked_is_removed_when_nobody_verifies(tmp_path: Path) -> None:
    store, folder = tmp_path / "store", tmp_path / "backups"
    async with _open(store) as runtime:
        await ingest(runtime, meeting(1))
    archive = folder / create_backup(store, folder).name

    def unpacked() -> int:
        return len(list(folder.glob(f"*/{DATABASE_NAME}")))

    with _unpacked(archive):
        with _unpacked(archive):
            pass
        verify_backup(archive)
        create_backup(store, folder)
        # The killed one's cannot be told from that of the one at work.
        assert unpacked() == 2
    verify_backup(archive)
    assert unpacked() == 0
    with _unpacked(archive):
        pass
    assert unpacked() == 1
    create_backup(store, folder)
    assert [path.name for path in folder.iterdir() if path.is_dir()] == []


async def test_a_backup_that_was_just_made_stays_when_the_clock_was_set_back(tmp_path: Path) -> None:
    store, folder = tmp_path / "store", tmp_path / "backups"
    async with _open(store):
        earlier = await asyncio.to_thread(create_backup, store, folder)
        (folder / earlier.name).rename(folder / f"cofio-29990101T000000.000Z{archives.SUFFIX}")
        made = await asyncio.to_thread(create_backup, store, folder, keep=1)
    assert [backup.name for backup in list_backups(folder)] == [made.name]
    assert made.fault is None


async def test_damage_is_found(tmp_path: Path) -> None:
    async with _open(tmp_path / "store") as runtime:
        await ingest(runtime, meeting(1))
    folder = tmp_path / "backups"
    archive = folder / create_backup(tmp_path / "store", folder).name
    whole = archive.read_bytes()
    for damaged in (
        whole[:-100],
        whole[:9000],
        whole[:20000] + bytes([whole[20000] ^ 1]) + whole[20001:],
        b"",
        b"x" * 9999,
    ):
        archive.write_bytes(damaged)
        with pytest.raises(DamagedBackup):
            verify_backup(archive)
        with pytest.raises(DamagedBackup):
            restore_backup(archive, tmp_path / "store", replace=True)
    (listed,) = list_backups(folder)
    assert listed.fault is not None
    with pytest.raises(NotFound):
        verify_backup(folder / "none")
    async with _open(tmp_path / "store") as runtime:
        assert runtime.live.current.counts["meetings"] == 1


async def test_a_backup_is_verified_where_it_lies_if_there_is_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with _open(tmp_path / "store") as runtime:
        await ingest(runtime, meeting(1))
    folder = tmp_path / "backups"
    archive = folder / create_backup(tmp_path / "store", folder).name
    # A container's folder for temporary files is small.
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "small"))
    assert verify_backup(archive).checked_pages > 0
    bound = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, bound[1]))
    try:
        with pytest.raises(Unavailable, match="as much room"):
            verify_backup(archive)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, bound)
    assert [path.name for path in folder.iterdir() if path.is_dir()] == []


async def test_a_manifest_that_counts_something_else_is_found(tmp_path: Path) -> None:
    async with _open(tmp_path / "store") as runtime:
        await ingest(runtime, meeting(1))
    folder = tmp_path / "backups"
    archive = folder / create_backup(tmp_path / "store", folder).name
    archive.write_bytes(archive.read_bytes().replace(b'"meetings":1,', b'"meetings":2,', 1))
    with pytest.raises(DamagedBackup, match="counts"):
        verify_backup(archive)


async def test_any_zstd_makes_the_database_of_a_backup(tmp_path: Path) -> None:
    async with _open(tmp_path / "store") as runtime:
        await ingest(runtime, meeting(1))
    made = create_backup(tmp_path / "store", tmp_path)
    (tmp_path / "db").write_bytes(zstd.decompress((tmp_path / made.name).read_bytes()))
    with contextlib.closing(sqlite3.connect(tmp_path / "db")) as connection:
        assert connection.execute("SELECT title FROM meetings").fetchall() == [("Sync 1",)]


async def test_a_backup_of_a_newer_cofio_is_refused(tmp_path: Path) -> None:
    async with _open(tmp_path / "store") as runtime:
        await ingest(runtime, meeting(1))
    with contextlib.closing(sqlite3.connect(tmp_path / "store" / DATABASE_NAME)) as newer, newer:
        newer.execute(
            "INSERT INTO _yoyo_migration (migration_hash, migration_id) VALUES ('later', '9999-later')"
        )
    made = create_backup(tmp_path / "store", tmp_path)
    with pytest.raises(StoreTooNew, match=r"9999-later.*knows none after"):
        restore_backup(tmp_path / made.name, tmp_path / "elsewhere")
    assert not (tmp_path / "elsewhere" / DATABASE_NAME).exists()


async def test_the_service_makes_and_lists_backups(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path / "store")
    async with open_runtime(settings, HashEncoder()) as runtime, client(settings, runtime) as service:
        assert (await service.get("/admin/backups")).json() == {"backups": []}
        await ingest(runtime, meeting(1))
        made = await service.post("/admin/backups")
        assert made.status_code == 201, made.text
        assert made.json()["manifest"]["counts"]["rows"]["meetings"] == 1
        again = await service.post("/admin/backups", json={"keep": 1})
        assert (await service.get("/admin/backups")).json() == {"backups": [again.json()]}
        verify_backup(tmp_path / "store" / "backups" / again.json()["name"])
        assert (await service.post("/admin/backups", json={"keep": 0})).status_code == 422
        with archives._alone(tmp_path / "store" / "backups"):
            busy = await service.post("/admin/backups")
        assert (busy.status_code, busy.json()["code"]) == (503, BackupUnderWay.code)


def test_there_is_no_backup_of_nothing(tmp_path: Path) -> None:
    with pytest.raises(NotFound):
        create_backup(tmp_path / "none", tmp_path / "backups")
    assert not (tmp_path / "none").exists()
