"""A busy database and a full disk: each is waited for or told in its own words, and neither loses anything."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sqlite3
import subprocess
import threading
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Final

import httpx
import pytest
from hash_encoder import HashEncoder
from in_process import client

from cofio import runtime as runtime_module
from cofio.batches import submit, watch, work
from cofio.data_dir import DATABASE_NAME
from cofio.errors import StorageFull, StoreBusy
from cofio.ingest import ingest
from cofio.maintain import delete_meeting, doctor
from cofio.records import MeetingInput
from cofio.runtime import RESTORE_S, Runtime, open_runtime
from cofio.settings import Settings
from cofio.store import database
from cofio.store.database import Database

PATH: Final = "/api/v2/query"


def meeting(i: int, lines: int = 4) -> MeetingInput:
    said = [f"Ann: The harbour crane number {i} needs grease at joint {line} again." for line in range(lines)]
    return MeetingInput(title=f"Sync {i}", transcript="\n".join(said), external_id=f"s{i}")


def body(i: int) -> dict[str, object]:
    made = meeting(i)
    return {"title": made.title, "transcript": made.transcript, "external_id": made.external_id}


@contextlib.asynccontextmanager
async def opened(folder: Path) -> AsyncIterator[tuple[Runtime, httpx.AsyncClient]]:
    settings = Settings(data_dir=folder, query_rate="", ingest_rate="")
    async with open_runtime(settings, HashEncoder()) as runtime, client(settings, runtime) as asked:
        yield runtime, asked


@contextlib.contextmanager
def writing_elsewhere(folder: Path) -> Iterator[sqlite3.Connection]:
    """Another connection is in the middle of a transaction that writes, until it commits."""
    with contextlib.closing(sqlite3.connect(folder / DATABASE_NAME, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        yield other
        if other.in_transaction:
            other.execute("COMMIT")


class Stay:
    """A reader in the middle of a transaction, from `reading` until it is `done`."""

    def __init__(self) -> None:
        self.reading, self.done = threading.Event(), threading.Event()

    def __call__(self, connection: sqlite3.Connection) -> None:
        database.queries.version(connection)
        self.reading.set()
        self.done.wait()


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Writers wait for other processes for a tenth of a second only."""
    usual = f"busy_timeout = {database._BUSY_WAIT_MS}"
    assert usual in database._PRAGMAS
    monkeypatch.setattr(database, "_PRAGMAS", database._PRAGMAS.replace(usual, "busy_timeout = 100"))


async def test_another_process_that_writes_is_waited_for(tmp_path: Path) -> None:
    async with opened(tmp_path) as (runtime, asked):
        with writing_elsewhere(tmp_path) as other:
            wanted = asyncio.create_task(asked.post("/ingest", json=body(1)))
            await asyncio.sleep(0.3)
            assert not wanted.done()
            other.execute("COMMIT")
            assert (await wanted).json()["outcome"] == "created"
        assert (await doctor(runtime, repair=False)).problems == ()


@pytest.mark.usefixtures("impatient")
async def test_one_that_writes_for_too_long_is_told_of_and_reading_goes_on(tmp_path: Path) -> None:
    async with opened(tmp_path) as (runtime, asked):
        assert (await asked.post("/ingest", json=body(1))).status_code == 200
        with writing_elsewhere(tmp_path):
            refused = await asked.post("/ingest", json=body(2))
            assert (refused.status_code, refused.json()["code"]) == (503, "store_busy")
            assert refused.headers["retry-after"] == "1"
            assert "locked" not in refused.text
            assert (await asked.post(PATH, json={"query": "Which crane?"})).status_code == 200
            assert (await asked.get("/health/ready")).status_code == 200
            with pytest.raises(StoreBusy):
                await delete_meeting(
                    runtime, (await asked.get("/api/v2/meetings")).json()["meetings"][0]["meeting_id"]
                )
        assert (await asked.post("/ingest", json=body(2))).json()["outcome"] == "created"
        assert (await doctor(runtime, repair=False)).problems == ()


@pytest.mark.usefixtures("impatient")
async def test_a_batch_waits_for_its_turn(tmp_path: Path) -> None:
    async with opened(tmp_path) as (runtime, _):
        operation_id = await submit(runtime, [meeting(i) for i in range(3)])
        with writing_elsewhere(tmp_path):
            await asyncio.sleep(0.5)
        async for state in watch(runtime, operation_id):
            last = state
        assert (last.status, last.done, last.failed) == ("succeeded", 3, 0)


async def test_a_writer_that_leaves_while_it_waits_holds_nobody_up(tmp_path: Path) -> None:
    async with opened(tmp_path) as (runtime, _):
        with writing_elsewhere(tmp_path) as other:
            leaving = asyncio.create_task(ingest(runtime, meeting(1)))
            await asyncio.sleep(0.3)
            leaving.cancel()
            await asyncio.sleep(0.1)
            other.execute("COMMIT")  # only now does the leaver's transaction begin
        with pytest.raises(asyncio.CancelledError):
            await leaving
        assert (await ingest(runtime, meeting(2))).outcome == "created"
        assert runtime.live.current.counts["meetings"] == 2, "what had begun was done to its end"
        assert (await doctor(runtime, repair=False)).problems == ()


async def test_readers_that_stay_keep_the_log_but_hold_up_nobody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = tmp_path / f"{DATABASE_NAME}-wal"
    async with opened(tmp_path) as (runtime, _):
        receipt = await ingest(runtime, meeting(1))
        stay = Stay()
        reader = asyncio.create_task(runtime.database.read(stay))
        await asyncio.to_thread(stay.reading.wait)
        await delete_meeting(runtime, receipt.meeting_id)
        assert log.stat().st_size > 0
        assert (await ingest(runtime, meeting(2))).outcome == "created"
        stay.done.set()
        await reader
        await runtime.database.tidy()
        assert log.stat().st_size == 0
        await ingest(runtime, meeting(3))
        await runtime.database.tidy()
        assert log.stat().st_size > 0, "a short log with nothing deleted is nobody's trouble"
        monkeypatch.setattr(database, "LONGEST_LOG_BYTES", 1)
        await runtime.database.tidy()
        assert log.stat().st_size == 0


async def test_the_log_is_emptied_also_while_the_vector_store_is_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runtime_module, "RETRY_S", 0.2)
    log = tmp_path / f"{DATABASE_NAME}-wal"
    async with opened(tmp_path) as (runtime, _):
        receipt = await ingest(runtime, meeting(1))
        stay = Stay()
        reader = asyncio.create_task(runtime.database.read(stay))
        await asyncio.to_thread(stay.reading.wait)
        await delete_meeting(runtime, receipt.meeting_id)
        engine = runtime.index.process_id
        assert engine is not None
        os.kill(engine, signal.SIGSTOP)
        try:
            runtime.breaker.open("stopped")
            await asyncio.sleep(2 * RESTORE_S)
            assert log.stat().st_size > 0
            stay.done.set()
            await reader
            async with asyncio.timeout(runtime.settings.vector_timeout_s / 2):
                while log.stat().st_size > 0:
                    await asyncio.sleep(0.05)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.kill(engine, signal.SIGCONT)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 256 MB in memory."""
    folder = tmp_path / "small"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=256m", "tmpfs", str(folder)], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip(f"no file system can be mounted here: {mounted.stderr.decode().strip()}")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


async def test_a_full_disk_refuses_writes_and_recovers(small_disk: Path) -> None:
    ballast = small_disk / "ballast"
    async with opened(small_disk / "store") as (runtime, asked):
        for i in range(3):
            assert (await asked.post("/ingest", json=body(i))).status_code == 200
        with contextlib.suppress(OSError), ballast.open("wb") as file:
            while True:
                file.write(bytes(4096))
                file.flush()
        stored, refused = set(range(3)), 0
        for i in range(3, 60):
            answer = await asked.post("/ingest", json=body(i))
            if answer.status_code == 200:
                stored.add(i)
                continue
            assert (answer.status_code, answer.json()["code"]) == (507, "storage_full")
            assert "Make room" in answer.json()["detail"]
            refused += 1
            if refused == 3:
                break
        assert refused == 3
        found = await asked.post(PATH, json={"query": "Which harbour crane needs grease?"})
        assert found.status_code == 200
        assert found.json()["total_results"] > 0
        titles = {
            each["title"] for each in (await asked.get("/api/v2/meetings?limit=100")).json()["meetings"]
        }
        assert titles == {f"Sync {i}" for i in stored}
        with pytest.raises(StorageFull):
            await submit(runtime, [meeting(99)])
        with pytest.raises(OSError, match="No space"):
            await runtime.live.save()
        ballast.unlink()
        assert (await asked.post("/ingest", json=body(100))).json()["outcome"] == "created"
        async with asyncio.timeout(60):
            while runtime.breaker.reason is not None or await runtime.outbox.owed():
                await asyncio.sleep(0.05)
        assert (await doctor(runtime, repair=False)).problems == ()
        assert runtime.live.current.counts["meetings"] == len(stored) + 1
    async with opened(small_disk / "store") as (runtime, _):
        assert (await doctor(runtime, repair=False)).problems == ()
        assert runtime.live.current.counts["meetings"] == len(stored) + 1


async def test_a_batch_waits_for_room(tmp_path: Path) -> None:
    async with opened(tmp_path) as (runtime, _):
        operation_id = await submit(runtime, [meeting(i, lines=400) for i in range(2)])
        ((pages,),) = await runtime.database.read(
            lambda connection: connection.execute("PRAGMA page_count").fetchall()
        )
        # SQLite's own bound on the file: what it raises there is what it raises on a full disk.
        runtime.database._writer.execute(f"PRAGMA max_page_count = {pages + 1}")
        working = asyncio.create_task(work(runtime))
        await asyncio.sleep(1.0)
        assert not working.done()
        runtime.database._writer.execute("PRAGMA max_page_count = 1000000")
        async for state in watch(runtime, operation_id):
            last = state
        assert (last.status, last.done, last.failed) == ("succeeded", 2, 0)
        working.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await working


async def test_a_caller_that_is_cancelled_keeps_no_reader(tmp_path: Path) -> None:
    """As a health check does whose time is over, and a client that leaves."""
    async with opened(tmp_path) as (runtime, _):
        for _ in range(2 * database._READERS):
            stay = Stay()
            leaving = asyncio.create_task(runtime.database.read(stay))
            await asyncio.to_thread(stay.reading.wait)
            leaving.cancel()
            with pytest.raises(asyncio.CancelledError):
                await leaving
            stay.done.set()
        async with asyncio.timeout(60):
            assert await runtime.database.version() == 0


async def test_who_read_last_reads_next(tmp_path: Path) -> None:
    """Each reader that reads fills a cache of its own: what one alone can read, one alone does."""
    async with opened(tmp_path) as (runtime, _):
        read = {await runtime.database.read(id) for _ in range(2 * database._READERS)}
        # Work in the background may be reading as well.
        assert len(read) <= database._READERS // 2


async def test_a_writer_that_has_begun_is_done_although_its_caller_is_gone(tmp_path: Path) -> None:
    async with opened(tmp_path) as (runtime, _):
        stay = Stay()

        def note(connection: sqlite3.Connection) -> None:
            stay(connection)
            database.queries.set_fact(connection, name="noted", value="yes")

        leaving = asyncio.create_task(runtime.database.write(note))
        await asyncio.to_thread(stay.reading.wait)
        never = asyncio.create_task(
            runtime.database.write(database.queries.set_fact, name="never", value="yes")
        )
        await asyncio.sleep(0.05)
        for task in (leaving, never):
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
        stay.done.set()
        await runtime.database.write(database.queries.set_fact, name="after", value="yes")
        assert [await runtime.database.fact(name) for name in ("noted", "never", "after")] == [
            "yes",
            None,
            "yes",
        ]


async def test_a_database_whose_readers_are_all_at_work_is_not_down(tmp_path: Path) -> None:
    truth = await Database.open(tmp_path / "cofio.sqlite3", tmp_path / "backups")
    stays = [Stay() for _ in range(2 * database._READERS)]
    readers = [asyncio.create_task(truth.read(stay)) for stay in stays]
    await asyncio.to_thread(stays[database._READ_THREADS - 1].reading.wait)
    async with asyncio.timeout(10):
        await truth.ping()
    assert not any(reader.done() for reader in readers)
    for stay in stays:
        stay.done.set()
    await asyncio.gather(*readers)
    await truth.aclose()
