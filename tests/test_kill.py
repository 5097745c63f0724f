"""A process killed with SIGKILL in the middle of its work loses nothing that it acknowledged."""

from __future__ import annotations

import asyncio
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
from hash_encoder import HashEncoder

from cofio.batches import submit, watch, work
from cofio.ingest import ingest
from cofio.maintain import doctor
from cofio.records import MeetingInput
from cofio.runtime import open_runtime
from cofio.settings import Settings
from cofio.store.operations import read_operation

TESTS = Path(__file__).parent

_WRITER = """
import asyncio, sys
sys.path.insert(0, {tests!r})
from pathlib import Path
from hash_encoder import HashEncoder
from cofio.ingest import ingest
from cofio.maintain import delete_meeting
from cofio.runtime import open_runtime
from cofio.settings import Settings
from test_kill import meeting

async def main():
    async with open_runtime(Settings(data_dir=Path({store!r})), HashEncoder()) as runtime:
        print("open", flush=True)
        for i in range({first}, {first} + 400):
            receipt = await ingest(runtime, meeting(i))
            print("stored", i, flush=True)
            if i % 4 == 3:
                await delete_meeting(runtime, receipt.meeting_id)
                print("deleted", i, flush=True)

asyncio.run(main())
"""

_WORKER = """
import asyncio, sys
sys.path.insert(0, {tests!r})
from pathlib import Path
from hash_encoder import HashEncoder
from cofio import batches
from cofio.runtime import open_runtime
from cofio.settings import Settings
from test_kill import meeting

async def main():
    async with open_runtime(Settings(data_dir=Path({store!r})), HashEncoder()) as runtime:
        print("operation", await batches.submit(runtime, [meeting(i) for i in range(30)]), flush=True)
        await batches.work(runtime)

asyncio.run(main())
"""


def meeting(i: int) -> MeetingInput:
    """The i-th of a series of small meetings that share some of their subjects."""
    lines = [
        f"Ann: We talked about the Aurora gateway number {i} and its battery cover for a while.",
        f"Ben: The supplier of lot {i} is late again, so the enclosure waits for the gasket.",
        f"Ann: I will call the supplier of lot {i} and ask for a new date by Friday.",
        "Ben: What does marketing say about the new date of the Aurora gateway?",
    ]
    return MeetingInput(
        title=f"Sync {i}", transcript="\n".join(lines), series="sync", external_id=f"sync-{i}"
    )


async def test_acknowledged_meetings_survive_kills(tmp_path: Path) -> None:
    rng = random.Random(5)
    store = tmp_path / "store"
    stored: set[int] = set()
    deleted: set[int] = set()
    last = -1
    for run in range(4):
        script = _WRITER.format(tests=str(TESTS), store=str(store), first=400 * run)
        process = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        assert process.stdout.readline() == "open\n"
        time.sleep(rng.uniform(0.3, 1.5))
        process.send_signal(signal.SIGKILL)
        for line in process.stdout:
            if line.endswith("\n"):
                verb, number = line.split()
                (stored if verb == "stored" else deleted).add(int(number))
                last = int(number)
        process.stdout.close()
        process.wait()
    assert stored, "the writer was killed before it had stored anything"
    async with open_runtime(Settings(data_dir=store), HashEncoder()) as runtime:
        assert (await doctor(runtime, repair=False)).problems == ()
        graph = runtime.live.current
        rows = np.diff(graph.meeting_rows)
        heads = {head.title: rows[i] for i, head in graph.living.items()}
        for i in stored - deleted:
            # The delete of the last one may have been under way, and done, without its word getting out.
            assert heads.get(f"Sync {i}", 4 if i % 4 == 3 else 0) == 4, (
                f"meeting {i} is incomplete (last {last})"
            )
        assert not {f"Sync {i}" for i in deleted} & heads.keys()
        assert set(heads.values()) == {4}, "a meeting is there in part"
        async with (
            runtime.database.read() as connection,
            connection.execute("PRAGMA integrity_check") as cursor,
        ):
            assert [tuple(row) async for row in cursor] == [("ok",)]
        again = await ingest(runtime, meeting(min(stored - deleted)))
        assert again.outcome == "unchanged"


async def test_an_accepted_batch_is_finished_after_a_kill(tmp_path: Path) -> None:
    store = tmp_path / "store"
    script = _WORKER.format(tests=str(TESTS), store=str(store))
    process = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    operation_id = process.stdout.readline().split()[1]
    time.sleep(0.4)
    process.kill()
    process.stdout.close()
    process.wait()
    async with open_runtime(Settings(data_dir=store), HashEncoder()) as runtime:
        before = await read_operation(runtime.database, operation_id)
        assert before.total == 30
        import_task = asyncio.create_task(work(runtime))
        async for state in watch(runtime, operation_id):
            last = state
        import_task.cancel()
        assert (last.status, last.done, last.failed) == ("succeeded", 30, 0)
        assert runtime.live.current.counts["meetings"] == 30
        assert (await doctor(runtime, repair=False)).problems == ()


async def test_a_batch_reports_each_meeting(tmp_path: Path) -> None:
    async with open_runtime(Settings(data_dir=tmp_path / "store"), HashEncoder()) as runtime:
        broken = MeetingInput(title="Broken", transcript="   ")
        operation_id = await submit(runtime, [meeting(1), broken, meeting(2)])
        assert (await read_operation(runtime.database, operation_id)).status == "pending"
        task = asyncio.create_task(work(runtime))
        states = [state async for state in watch(runtime, operation_id)]
        task.cancel()
        assert states[-1].status == "failed"
        assert [item.status for item in states[-1].results] == ["succeeded", "failed", "succeeded"]
        error = states[-1].results[1].error
        assert error is not None
        assert error["code"] == "empty_transcript"
        assert [state.done for state in states] == sorted(state.done for state in states)
