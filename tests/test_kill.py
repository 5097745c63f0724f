"""A process killed with SIGKILL in the middle of its work loses nothing that it acknowledged."""

from __future__ import annotations

import asyncio
import random
import subprocess
import sys
import time
from collections.abc import Iterator
from multiprocessing.context import ForkServerContext
from pathlib import Path

import pytest
from drills import kill
from drills.broken import ORDERS
from drills.faults import Fault
from drills.verify import References
from hash_encoder import HashEncoder

from cofio.batches import submit, watch, work
from cofio.maintain import doctor
from cofio.records import MeetingInput
from cofio.runtime import open_runtime
from cofio.settings import Settings
from cofio.store.operations import read_operation

TESTS = Path(__file__).parent
MEETINGS = 8

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


@pytest.fixture(scope="module")
def lives() -> Iterator[ForkServerContext]:
    with kill.lives() as context:
        yield context


@pytest.fixture(scope="module")
def references(lives: ForkServerContext, tmp_path_factory: pytest.TempPathFactory) -> References:
    return kill.refer(lives, tmp_path_factory.mktemp("reference") / "store", MEETINGS)


def core(
    lives: ForkServerContext, references: References, store: Path, order: str | None = None
) -> kill.Core:
    return kill.Core(context=lives, store=store, references=references, rng=random.Random(7), order=order)


def test_nothing_is_lost_when_writers_are_killed(
    lives: ForkServerContext, references: References, tmp_path: Path
) -> None:
    drilled = core(lives, references, tmp_path / "store")
    for _ in range(8):
        drilled.live()
    drilled.live_to_the_end()
    assert drilled.tally.problems == []
    assert drilled.tally.kills.total() >= 6
    assert drilled.tally.acknowledged > 0


def test_nothing_is_lost_when_services_are_killed(
    lives: ForkServerContext, references: References, tmp_path: Path
) -> None:
    drilled = core(lives, references, tmp_path / "store")
    for _ in range(2):
        drilled.serve()
    assert drilled.tally.problems == []
    assert drilled.tally.kills.total() == 2
    assert drilled.tally.verified >= 2


def test_a_store_can_be_opened_after_a_kill_in_a_migration(
    lives: ForkServerContext, references: References, tmp_path: Path
) -> None:
    drilled = core(lives, references, tmp_path / "store")
    for point in ("migration: applied, not noted", "migration: noted, not committed"):
        drilled.live_until(Fault(point=point, hit=2, group=True))
        assert drilled.tally.kills[point] == 1
    drilled.live_to_the_end()
    assert drilled.tally.problems == []


@pytest.mark.parametrize("point", ["build: about to be current", "engine: opened a collection"])
def test_a_rare_point_is_aimed_at(
    point: str, lives: ForkServerContext, references: References, tmp_path: Path
) -> None:
    tally = kill.kill_at(lives, tmp_path, references, point, seed=1)
    assert tally.problems == []
    assert kill.points_of(tally) >= {point}


@pytest.mark.parametrize("order", ORDERS)
def test_a_wrong_order_is_caught(
    order: str, lives: ForkServerContext, references: References, tmp_path: Path
) -> None:
    drilled = core(lives, references, tmp_path / "store", order)
    for hit in range(2, 12):
        drilled.live_until(Fault(point=ORDERS[order].exposed_at, hit=hit, group=True))
        if drilled.tally.problems:
            break
    assert drilled.tally.problems


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
