"""An index is built beside the serving one: searches and writes go on, and no kill loses what was acknowledged."""

import asyncio
import os
import random
import signal
import subprocess
import sys
import uuid
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import date
from pathlib import Path

import numpy as np
import pytest
from structlog.testing import capture_logs

from cofio.records import Filters, Float32s, Level
from cofio.store import generations
from cofio.store.vectors import COLLECTIONS, Coverage, Payload, Point
from cofio.store.vectors_edge import EdgeIndex

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="looks for processes in /proc")

ENOUGH = 1000  # points that start a build in these tests
ROOT_DIMENSIONS = 16  # what real embeddings of one topic vary in; in 384 at random, everything is equally far


def vectors(seed: int, count: int) -> Float32s:
    rng = np.random.default_rng(seed)
    root = np.random.default_rng(0).normal(size=(ROOT_DIMENSIONS, 384))
    semantic = rng.normal(size=(count, ROOT_DIMENSIONS)) @ root + 0.3 * rng.normal(size=(count, 384))
    semantic /= np.linalg.norm(semantic, axis=1, keepdims=True)
    return np.concatenate([semantic, rng.random((count, 16))], axis=1).astype(np.float32)


def points(seed: int, count: int) -> list[Point]:
    rng = random.Random(seed)
    return [
        Point(
            memory_id=str(uuid.UUID(int=rng.getrandbits(128), version=4)),
            vector=row,
            payload=Payload(
                project=("atlas", "borealis")[number % 8 == 0], date_ordinal=738_000 + number % 10
            ),
        )
        for number, row in enumerate(vectors(seed, count))
    ]


def asked_by(point: Point) -> Float32s:
    made = point.vector.copy()
    made[384:] = 0
    return made


def ids(made: Sequence[Point]) -> set[str]:
    return {point.memory_id for point in made}


def others(index: EdgeIndex) -> set[int]:
    """The builder's process, or the one that is to take the serving one's place."""
    lists = Path("/proc/self/task").glob("*/children")
    below = {int(word) for found in lists for word in found.read_text().split()}
    ours = {
        process for process in below if b"vectors_edge_child" in Path(f"/proc/{process}/cmdline").read_bytes()
    }
    return ours - {index.process_id}


def kill_and_wait(process: int | None) -> None:
    """The process is dead; its parent has not been told."""
    assert process is not None
    os.kill(process, signal.SIGKILL)
    os.waitid(os.P_PID, process, os.WEXITED | os.WNOWAIT)


def names(directory: Path) -> set[str]:
    return {path.name for path in directory.iterdir() if path.is_dir()}


@asynccontextmanager
async def opened(directory: Path, *, enough: int = ENOUGH) -> AsyncIterator[EdgeIndex]:
    index = await EdgeIndex.open(directory, indexing_points=enough, retry_s=0.05)
    try:
        yield index
    finally:
        await index.aclose()


async def until_building(index: EdgeIndex) -> None:
    while not (await index.coverage()).building or not others(index):
        await asyncio.sleep(0.002)


async def until_built(index: EdgeIndex, least: int) -> Coverage:
    """The coverage once `least` points are indexed and no build goes on."""
    while True:
        coverage = await index.coverage()
        if coverage.indexed >= least and not coverage.building:
            return coverage
        await asyncio.sleep(0.01)


async def test_searches_and_writes_go_on_while_an_index_is_built(tmp_path: Path) -> None:
    first, later = points(1, 2 * ENOUGH), points(2, 400)
    async with opened(tmp_path / "vectors") as index:
        with capture_logs() as logs:
            await index.upsert(Level.EPISODE, first)
            await until_building(index)
            serving = index.process_id
            searched = 0
            for start in range(0, len(later), 20):
                await index.upsert(Level.EPISODE, later[start : start + 20])
                await index.upsert(Level.CONTEXT, later[start : start + 5])
                await index.delete(Level.EPISODE, [first[start].memory_id])
                found = await index.search(asked_by(later[start]), {Level.EPISODE: 1}, Filters())
                searched += found[Level.EPISODE][0].memory_id == later[start].memory_id
            moved = Point(
                memory_id=first[1].memory_id, vector=first[7].vector, payload=Payload(project="moved")
            )
            await index.upsert(Level.EPISODE, [moved])
            assert searched == 20
            coverage = await until_built(index, ENOUGH)
        gone = {first[start].memory_id for start in range(0, len(later), 20)}
        assert index.process_id != serving
        assert coverage.build_s is not None
        assert await index.ids(Level.EPISODE) == (ids(first) - gone) | ids(later)
        assert len(await index.ids(Level.CONTEXT)) == 100
        hits = (await index.search(asked_by(moved), {Level.EPISODE: 3}, Filters(project=("moved",))))[
            Level.EPISODE
        ]
        assert [hit.memory_id for hit in hits] == [moved.memory_id]
        events = [entry["event"] for entry in logs]
        assert events[:2] == ["vector_index_build_started", "vector_index_build_finished"]
        content = ids(first) | ids(later) | {"atlas", "borealis"}
        assert not content & {str(value) for entry in logs for value in entry.values()}
    assert len(names(tmp_path / "vectors")) == 1
    async with opened(tmp_path / "vectors") as again:
        assert await again.ids(Level.EPISODE) == (ids(first) - gone) | ids(later)
        assert (await again.coverage()).indexed >= ENOUGH


async def test_a_built_index_finds_what_a_scan_finds_with_and_without_filters(tmp_path: Path) -> None:
    made = points(3, 9000)
    matrix = np.stack([point.vector[:384] for point in made])
    queries = [asked_by(point) for point in points(4, 40)]
    few = np.array([point.payload.project == "borealis" for point in made])
    half = np.array([(point.payload.date_ordinal or 0) < 738_009 for point in made])  # type: ignore[operator]
    async with opened(tmp_path / "vectors") as index:
        await index.upsert(Level.EPISODE, made)
        await until_built(index, len(made) - ENOUGH)
        for filters, inside in (
            (Filters(), np.ones(len(made), dtype=bool)),
            (Filters(project=("borealis",)), few),
            (Filters(date_to=date.fromordinal(738_008)), half),
        ):
            right = roughly_right = 0
            for query in queries:
                scores = np.where(inside, matrix @ query[:384], -np.inf)
                best = {made[row].memory_id for row in np.argsort(-scores)[:10]}
                hits = (await index.search(query, {Level.EPISODE: 10}, filters))[Level.EPISODE]
                right += len(best & {hit.memory_id for hit in hits})
                assert hits[0].score == pytest.approx(scores.max(), abs=1e-5)
                roughly = await index.search(query, {Level.EPISODE: 20}, filters, rescored=False)
                roughly_right += len(best & {hit.memory_id for hit in roughly[Level.EPISODE]})
                assert roughly[Level.EPISODE][0].score == pytest.approx(scores.max(), abs=0.05)
            assert right >= 0.98 * 10 * len(queries)
            # By one byte a number the ten nearest are among the first twenty.
            assert roughly_right >= 0.98 * 10 * len(queries)


async def test_a_killed_builder_leaves_the_index_as_it_was_and_is_replaced_later(tmp_path: Path) -> None:
    made = points(5, 2 * ENOUGH)
    async with opened(tmp_path / "vectors") as index:
        with capture_logs() as logs:
            await index.upsert(Level.EPISODE, made)
            await until_building(index)
            serving = index.process_id
            for process in others(index):
                os.kill(process, signal.SIGKILL)
            while not [entry for entry in logs if entry["event"] == "vector_index_build_failed"]:
                assert await index.ids(Level.EPISODE) == ids(made)
            assert index.process_id == serving
            await until_built(index, ENOUGH)
        assert [entry["log_level"] for entry in logs if "failed" in entry["event"]] == ["warning"]
        assert await index.ids(Level.EPISODE) == ids(made)


async def test_the_death_of_the_serving_engine_during_a_build_loses_nothing(tmp_path: Path) -> None:
    made, later = points(6, 2 * ENOUGH), points(7, 60)
    async with opened(tmp_path / "vectors") as index:
        await index.upsert(Level.EPISODE, made)
        await until_building(index)
        await index.upsert(Level.EPISODE, later[:30])
        kill_and_wait(index.process_id)
        await index.upsert(Level.EPISODE, later[30:])
        assert await index.ids(Level.EPISODE) == ids(made) | ids(later)
        await until_built(index, ENOUGH)
        assert await index.ids(Level.EPISODE) == ids(made) | ids(later)


async def test_the_death_of_both_during_a_build_loses_nothing(tmp_path: Path) -> None:
    made = points(8, 2 * ENOUGH)
    async with opened(tmp_path / "vectors") as index:
        await index.upsert(Level.EPISODE, made)
        await until_building(index)
        for process in (*others(index), index.process_id):
            kill_and_wait(process)
        assert await index.ids(Level.EPISODE) == ids(made)
        await until_built(index, ENOUGH)
        assert await index.ids(Level.EPISODE) == ids(made)


async def test_closing_during_a_build_leaves_no_process_and_no_copy(tmp_path: Path) -> None:
    made = points(9, 2 * ENOUGH)
    async with opened(tmp_path / "vectors") as index:
        await index.upsert(Level.EPISODE, made)
        await until_building(index)
    assert others(index) == set()
    assert len(names(tmp_path / "vectors")) == 1
    async with opened(tmp_path / "vectors") as again:
        assert await again.ids(Level.EPISODE) == ids(made)


async def test_what_is_cleared_during_a_build_does_not_come_back(tmp_path: Path) -> None:
    made, later = points(10, 2 * ENOUGH), points(11, 10)
    async with opened(tmp_path / "vectors") as index:
        await index.upsert(Level.EPISODE, made)
        await until_building(index)
        await index.clear()
        assert others(index) == set()
        await index.upsert(Level.EPISODE, later)
        assert await index.ids(Level.EPISODE) == ids(later)
        await index.upsert(Level.EPISODE, made)
        await until_built(index, ENOUGH)
        assert await index.ids(Level.EPISODE) == ids(made) | ids(later)


PARENT = """
import asyncio, random, sys, uuid
from datetime import date
from pathlib import Path
import numpy as np
from cofio.records import Level
from cofio.store.vectors import Payload, Point
from cofio.store.vectors_edge import EdgeIndex

async def main():
    index = await EdgeIndex.open(Path(sys.argv[1]), indexing_points=300)
    rng = np.random.default_rng(int(sys.argv[2]))
    while True:
        rows = rng.normal(size=(30, 400)).astype(np.float32)
        rows[:, :384] /= np.linalg.norm(rows[:, :384], axis=1, keepdims=True)
        rows[:, 384:] = 0
        made = [Point(memory_id=str(uuid.uuid4()), vector=row, payload=Payload()) for row in rows]
        await index.upsert(Level.EPISODE, made)
        print("+", *(point.memory_id for point in made), flush=True)
        gone = made.pop().memory_id
        print("-", gone, flush=True)
        await index.delete(Level.EPISODE, [gone])
        await asyncio.sleep(0.03)

asyncio.run(main())
"""


async def test_a_service_killed_at_any_instant_loses_nothing_that_was_acknowledged(tmp_path: Path) -> None:
    directory = tmp_path / "vectors"
    acknowledged: set[str] = set()
    begun: set[str] = set()
    rng = random.Random(12)
    for turn in range(4):
        with subprocess.Popen(
            [sys.executable, "-c", PARENT, str(directory), str(turn)],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        ) as parent:
            assert parent.stdout is not None
            lines = rng.randrange(30, 120)
            for line in parent.stdout:
                sign, *told = line.split() if line.endswith("\n") else ["half a line"]
                if sign == "-":
                    begun.update(told)
                elif sign == "+":
                    acknowledged.update(told)
                lines -= 1
                if not lines:
                    parent.kill()
        async with opened(directory) as index:
            assert acknowledged - begun <= await index.ids(Level.EPISODE)
    async with opened(directory, enough=300) as index:
        await until_built(index, 1)
        assert acknowledged - begun <= await index.ids(Level.EPISODE)


async def test_a_directory_of_an_earlier_format_counts_as_empty(tmp_path: Path) -> None:
    directory = tmp_path / "vectors"
    for name in COLLECTIONS.values():
        (directory / name / "segments").mkdir(parents=True)
        (directory / name / "edge_config.json").write_text("{}")
    (directory / "v1-000007").mkdir()
    async with opened(directory) as index:
        assert await index.counts() == dict.fromkeys(Level, 0)
    assert names(directory) == {f"{generations.FORMAT}-000001"}


async def test_a_copy_that_is_written_to_leaves_the_original_as_it_was(tmp_path: Path) -> None:
    """The engine never changes the files that a copy shares: only that makes sharing them right."""
    made = points(13, 2 * ENOUGH)
    async with opened(tmp_path / "vectors") as index:
        await index.upsert(Level.EPISODE, made)
        await until_built(index, ENOUGH)
    name = generations.current(tmp_path / "vectors")
    assert name is not None
    copied = tmp_path / "copy"
    copied.mkdir()
    generations.copy(tmp_path / "vectors" / name, copied / name)
    generations.make_current(copied, name)
    shared = [path for path in (copied / name).rglob("*") if path.name in generations.WRITTEN_ONCE]
    assert {path.name for path in shared} == generations.WRITTEN_ONCE
    before = {path: path.read_bytes() for path in shared}
    async with opened(copied) as index:
        await index.delete(Level.EPISODE, [point.memory_id for point in made[:100]])
        changed = [
            Point(memory_id=one.memory_id, vector=other.vector, payload=Payload(project="changed"))
            for one, other in zip(made[100:200], made[200:300], strict=True)
        ]
        await index.upsert(Level.EPISODE, changed)
        await index.flush()
    assert {path: path.read_bytes() for path in shared} == before
    async with opened(tmp_path / "vectors") as index:
        assert await index.ids(Level.EPISODE) == ids(made)


async def test_a_purge_leaves_no_byte_of_what_was_deleted_and_all_that_is_written_meanwhile(
    tmp_path: Path,
) -> None:
    made, more = points(1, 300), points(2, 200)
    gone = [point for point in made if point.payload.project == "atlas"]
    async with opened(tmp_path) as index:
        await index.upsert(Level.EPISODE, made)
        await index.delete(Level.EPISODE, [point.memory_id for point in gone])
        await index.flush()
        assert any(b"atlas" in path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
        purging = asyncio.create_task(index.purge())
        for start in range(0, len(more), 20):
            part = [
                Point(memory_id=one.memory_id, vector=one.vector, payload=Payload(project="cedar"))
                for one in more[start : start + 20]
            ]
            await index.upsert(Level.EPISODE, part)
        await index.delete(Level.EPISODE, [more[0].memory_id])
        assert await purging
        expected = (ids(made) - ids(gone)) | (ids(more) - {more[0].memory_id})
        assert await index.ids(Level.EPISODE) == expected
        assert not any(b"atlas" in path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
        asked = next(point for point in made if point.memory_id in expected)
        found = await index.search(asked_by(asked), {Level.EPISODE: 1}, Filters())
        assert found[Level.EPISODE][0].memory_id == asked.memory_id
    async with opened(tmp_path) as index:
        assert await index.ids(Level.EPISODE) == expected
