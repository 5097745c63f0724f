"""The engine's process may die, hang or outlive its parent for a moment: nothing acknowledged is lost."""

import asyncio
import os
import random
import resource
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import AsyncIterator
from pathlib import Path

import numpy as np
import pytest
import pytest_asyncio
import qdrant_edge

from cofio.errors import StoreInUse, VectorStoreUnavailable
from cofio.records import Filters, Float32s, Level
from cofio.store import generations
from cofio.store.vectors import COLLECTIONS, Payload, Point
from cofio.store.vectors_edge import EdgeIndex

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="looks for processes in /proc")

FIRST = f"{generations.FORMAT}-000001"


def vector(rng: random.Random) -> Float32s:
    made = np.zeros(400, dtype=np.float32)
    made[:384] = [rng.gauss(0, 1) for _ in range(384)]
    made[:384] /= np.linalg.norm(made[:384])
    return made


def points(rng: random.Random, count: int) -> list[Point]:
    return [
        Point(
            memory_id=str(uuid.UUID(int=rng.getrandbits(128), version=4)),
            vector=vector(rng),
            payload=Payload(project="atlas"),
        )
        for _ in range(count)
    ]


def ids(made: list[Point]) -> set[str]:
    return {point.memory_id for point in made}


def process_of(index: EdgeIndex) -> int:
    assert index.process_id is not None
    return index.process_id


def children() -> set[int]:
    """The processes below this one, zombies included, but for the service of the HTTP tests."""
    lists = Path("/proc/self/task").glob("*/children")
    below = {int(word) for found in lists for word in found.read_text().split()}
    return {process for process in below if b"--port" not in Path(f"/proc/{process}/cmdline").read_bytes()}


def kill_and_wait(process: int) -> None:
    """The process is dead; its parent has not been told."""
    os.kill(process, signal.SIGKILL)
    os.waitid(os.P_PID, process, os.WEXITED | os.WNOWAIT)


@pytest_asyncio.fixture
async def index(tmp_path: Path) -> AsyncIterator[EdgeIndex]:
    opened = await EdgeIndex.open(tmp_path / "vectors")
    yield opened
    await opened.aclose()


async def test_a_reopened_directory_holds_what_was_stored(tmp_path: Path) -> None:
    made = points(random.Random(1), 300)
    first = await EdgeIndex.open(tmp_path / "vectors")
    await first.upsert(Level.CONTEXT, made)
    await first.aclose()
    second = await EdgeIndex.open(tmp_path / "vectors")
    try:
        assert await second.ids(Level.CONTEXT) == ids(made)
        found = await second.search(made[7].vector, {Level.CONTEXT: 1}, Filters(project=("atlas",)))
        assert found[Level.CONTEXT][0].memory_id == made[7].memory_id
    finally:
        await second.aclose()


async def test_calls_in_flight_fail_when_the_engine_is_killed_and_the_next_goes_on(index: EdgeIndex) -> None:
    rng = random.Random(2)
    before, during = points(rng, 50), points(rng, 4000)
    await index.upsert(Level.EPISODE, before)
    killed = process_of(index)
    upsert = asyncio.create_task(index.upsert(Level.EPISODE, during))
    while (await index.counts())[Level.EPISODE] < 500:
        pass
    os.kill(killed, signal.SIGKILL)
    with pytest.raises(VectorStoreUnavailable):
        await upsert
    kept = await index.ids(Level.EPISODE)
    assert ids(before) <= kept <= ids(before) | ids(during)
    assert 500 <= len(kept) < 4050
    await index.upsert(Level.EPISODE, during)
    assert await index.ids(Level.EPISODE) == ids(before) | ids(during)
    assert process_of(index) != killed


async def test_callers_share_one_restart(index: EdgeIndex) -> None:
    made = points(random.Random(3), 20)
    await index.upsert(Level.EPISODE, made)
    kill_and_wait(process_of(index))
    searches = [index.search(point.vector, {Level.EPISODE: 1}, Filters()) for point in made]
    answers = await asyncio.gather(*searches)
    assert [answer[Level.EPISODE][0].memory_id for answer in answers] == [point.memory_id for point in made]
    assert len(children()) == 1


async def test_an_engine_that_cannot_be_started_is_away_until_it_can(index: EdgeIndex) -> None:
    kill_and_wait(process_of(index))
    bound = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, bound[1]))  # every new file is one too many
    try:
        with pytest.raises(VectorStoreUnavailable, match="cannot be started"):
            await index.counts()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, bound)
    assert await index.counts() == dict.fromkeys(Level, 0)


async def test_an_engine_that_hangs_is_replaced(tmp_path: Path) -> None:
    index = await EdgeIndex.open(tmp_path / "vectors", reply_wait_s=1)
    try:
        stopped = process_of(index)
        os.kill(stopped, signal.SIGSTOP)
        with pytest.raises(VectorStoreUnavailable, match="did not answer"):
            await index.counts()
        assert await index.counts() == dict.fromkeys(Level, 0)
        assert process_of(index) != stopped
    finally:
        await index.aclose()


async def test_signals_meant_for_the_service_do_not_stop_the_engine(index: EdgeIndex) -> None:
    engine = process_of(index)
    os.kill(engine, signal.SIGINT)
    os.kill(engine, signal.SIGTERM)
    assert await index.counts() == dict.fromkeys(Level, 0)
    assert process_of(index) == engine


async def test_searches_slip_in_between_the_chunks_of_an_upsert(index: EdgeIndex) -> None:
    made = points(random.Random(4), 3000)
    upsert = asyncio.create_task(index.upsert(Level.EPISODE, made))
    answered = 0
    while not upsert.done():
        await index.search(made[0].vector, {Level.EPISODE: 3}, Filters())
        answered += 1
    await upsert
    assert answered > 5


async def test_a_caller_that_leaves_does_not_disturb_the_answers_of_others(index: EdgeIndex) -> None:
    made = points(random.Random(5), 200)
    await index.upsert(Level.EPISODE, made)
    leaving = [asyncio.create_task(index.ids(Level.EPISODE)) for _ in range(5)]
    staying = asyncio.create_task(index.counts())
    await asyncio.sleep(0)
    for task in leaving:
        task.cancel()
    assert (await staying)[Level.EPISODE] == 200
    assert await index.ids(Level.EPISODE) == ids(made)
    assert all(task.cancelled() for task in leaving)


async def test_the_second_who_opens_a_directory_is_refused(index: EdgeIndex, tmp_path: Path) -> None:
    with pytest.raises(StoreInUse, match="vectors"):
        await EdgeIndex.open(tmp_path / "vectors", lock_wait_s=0.3)
    assert await index.counts() == dict.fromkeys(Level, 0)
    assert children() == {process_of(index)}


async def test_closing_leaves_no_process(tmp_path: Path) -> None:
    index = await EdgeIndex.open(tmp_path / "vectors")
    await index.aclose()
    assert children() == set()
    killed = await EdgeIndex.open(tmp_path / "vectors")
    os.kill(process_of(killed), signal.SIGKILL)
    await killed.aclose()
    assert children() == set()


async def begun_anew(directory: Path) -> None:
    """An empty index serves in `directory`, which is the only one there."""
    index = await EdgeIndex.open(directory)
    assert await index.counts() == dict.fromkeys(Level, 0)
    assert [path.name for path in directory.glob("v*")] == [generations.current(directory)]
    assert not (directory / FIRST).exists()
    await index.aclose()
    assert children() == set()


async def test_an_index_that_cannot_be_read_is_begun_anew(tmp_path: Path) -> None:
    directory = tmp_path / "vectors"
    await (await EdgeIndex.open(directory)).aclose()
    config = directory / FIRST / COLLECTIONS[Level.CONTEXT] / "edge_config.json"
    config.write_text('{"vectors"')
    await begun_anew(directory)


async def test_an_index_of_vectors_of_another_size_is_begun_anew(tmp_path: Path) -> None:
    directory = tmp_path / "vectors"
    (directory / FIRST).mkdir(parents=True)
    generations.make_current(directory, FIRST)
    other = qdrant_edge.EdgeVectorParams(size=8, distance=qdrant_edge.Distance.Dot)
    shard = qdrant_edge.EdgeShard.create(
        str(directory / FIRST / COLLECTIONS[Level.CONCEPT]),
        qdrant_edge.EdgeConfig(vectors=other, wal_enabled=True),
    )
    shard.close()
    await begun_anew(directory)


async def test_a_directory_where_no_index_can_be_begun_is_named(tmp_path: Path) -> None:
    directory = tmp_path / "vectors"
    directory.write_text("a file")
    with pytest.raises(VectorStoreUnavailable, match="cannot be opened") as refused:
        await EdgeIndex.open(directory)
    assert str(directory) in refused.value.detail
    assert children() == set()


async def test_what_a_killed_creation_or_clearing_left_is_removed(tmp_path: Path) -> None:
    directory = tmp_path / "vectors"
    await (await EdgeIndex.open(directory)).aclose()
    for suffix in ("new", "old"):
        leftover = directory / FIRST / f"{COLLECTIONS[Level.CONCEPT]}.{suffix}"
        leftover.mkdir(parents=True)
        (leftover / "edge_config.json").write_text("half")
    index = await EdgeIndex.open(directory)
    await index.clear()
    await index.aclose()
    assert {path.name for path in (directory / FIRST).iterdir()} >= set(COLLECTIONS.values())
    assert not list(directory.glob("*/*.new"))


PARENT = """
import asyncio, random, sys, uuid
from pathlib import Path
import numpy as np
from cofio.records import Level
from cofio.store.vectors import Payload, Point
from cofio.store.vectors_edge import EdgeIndex

async def main():
    index = await EdgeIndex.open(Path(sys.argv[1]))
    print(index.process_id, flush=True)
    vector = np.zeros(400, dtype=np.float32)
    vector[0] = 1
    while True:
        ids = [str(uuid.uuid4()) for _ in range(50)]
        await index.upsert(Level.EPISODE, [Point(memory_id=i, vector=vector, payload=Payload()) for i in ids])
        print(*ids, flush=True)

asyncio.run(main())
"""


def service(directory: Path) -> subprocess.Popen[str]:
    return subprocess.Popen([sys.executable, "-c", PARENT, str(directory)], stdout=subprocess.PIPE, text=True)


async def test_what_was_acknowledged_survives_the_kill_of_the_whole_service(tmp_path: Path) -> None:
    directory = tmp_path / "vectors"
    acknowledged: set[str] = set()
    with service(directory) as parent:
        assert parent.stdout is not None
        engine = int(parent.stdout.readline())
        for _ in range(20):
            acknowledged.update(parent.stdout.readline().split())
        parent.kill()
        acknowledged.update(word for line in parent.stdout if line.endswith("\n") for word in line.split())
    index = await EdgeIndex.open(directory)
    try:
        assert len(acknowledged) >= 1000
        assert acknowledged <= await index.ids(Level.EPISODE)
        assert not running(engine)
    finally:
        await index.aclose()


def running(process: int) -> bool:
    """Whether the process runs; an orphan that nobody has reaped yet does not."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


async def test_an_engine_that_nobody_can_talk_to_dies_with_its_parent(tmp_path: Path) -> None:
    """Stopped, it cannot notice the closed socket; the kernel's signal reaches it all the same."""
    with service(tmp_path / "vectors") as parent:
        assert parent.stdout is not None
        engine = int(parent.stdout.readline())
        os.kill(engine, signal.SIGSTOP)
        parent.kill()
    deadline = time.monotonic() + 10
    while running(engine):
        assert time.monotonic() < deadline
        await asyncio.sleep(0.02)


def test_the_engines_process_imports_little() -> None:
    listing = "import sys, cofio.store.vectors_edge_child; print(*sys.modules)"
    loaded = subprocess.run(
        [sys.executable, "-c", listing], capture_output=True, text=True, check=True
    ).stdout
    heavy = {"numpy", "numba", "fastapi", "pydantic", "qdrant_client", "asyncio", "tenacity"}
    assert "qdrant_edge" in loaded.split()
    assert heavy.isdisjoint(loaded.split())


async def test_an_opening_that_is_given_up_leaves_no_process(tmp_path: Path) -> None:
    opening = asyncio.create_task(EdgeIndex.open(tmp_path / "vectors"))
    while not children():
        await asyncio.sleep(0.001)
    opening.cancel()
    with pytest.raises(asyncio.CancelledError):
        await opening
    assert children() == set()
    await (await EdgeIndex.open(tmp_path / "vectors")).aclose()
