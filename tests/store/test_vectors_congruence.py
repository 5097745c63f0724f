"""Both adapters do the same as a plain scan over a dictionary, and so the same as one another.

The embedded adapter runs the real engine in its process; the server adapter runs over qdrant-client's local
mode, which stands in for a server.
"""

import random
import uuid
from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import pytest
import pytest_asyncio
from qdrant_client import AsyncQdrantClient

from cofio.errors import InvalidInput, VectorStoreUnavailable
from cofio.records import Filters, Float32s, Level, MemoryType
from cofio.store.vectors import Hit, Payload, Point, VectorIndex
from cofio.store.vectors_edge import EdgeIndex
from cofio.store.vectors_server import ServerIndex

pytestmark = [
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.filterwarnings("ignore:Payload indexes have no effect in the local Qdrant"),
]

START = date(2024, 1, 1)
PROJECTS = ("atlas", "borealis")
SERIES = ("weekly", "retro", "board")
MEETINGS = tuple(str(uuid.UUID(int=number)) for number in range(1, 9))
SPEAKERS = ("Ana", "Ben", "Çelik", "D'Arcy")
NEAR = 1e-5  # how far float32 sums in another order may be apart

Stored = dict[Level, dict[str, Point]]


async def opened(kind: str, directory: Path) -> VectorIndex:
    if kind == "edge":
        return await EdgeIndex.open(directory)
    index = ServerIndex(AsyncQdrantClient(location=":memory:"))
    await index.ready()
    return index


@pytest_asyncio.fixture(params=["edge", "server"], scope="module", loop_scope="module")
async def shared(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[VectorIndex]:
    index = await opened(request.param, tmp_path_factory.mktemp("shared") / "vectors")
    yield index
    await index.aclose()


@pytest_asyncio.fixture(loop_scope="module")
async def index(shared: VectorIndex) -> VectorIndex:
    """An open index without a point, but not a new one: opening one takes longer than most tests."""
    for level in Level:
        await shared.delete(level, sorted(await shared.ids(level)))
    return shared


def unit(rng: random.Random) -> Float32s:
    made = np.array([rng.gauss(0, 1) for _ in range(384)], dtype=np.float32)
    made /= np.linalg.norm(made)
    return made


def vector(rng: random.Random) -> Float32s:
    return np.concatenate([unit(rng), np.array([rng.random() for _ in range(16)], dtype=np.float32)])


def query(rng: random.Random, weights: Mapping[int, float] | None = None) -> Float32s:
    made = np.concatenate([unit(rng), np.zeros(16, dtype=np.float32)])
    for feature, weight in (weights or {}).items():
        made[384 + feature] = weight
    return made


def new_id(rng: random.Random) -> str:
    return str(uuid.UUID(int=rng.getrandbits(128), version=4))


def payload(rng: random.Random, level: Level) -> Payload:
    day = START.toordinal() + rng.randrange(60)
    if level is Level.CONCEPT:
        return Payload(
            project=rng.choice(PROJECTS),
            series=rng.sample(SERIES, rng.randrange(3)),
            meeting_id=rng.sample(MEETINGS, rng.randint(1, 4)),
            speaker=tuple(rng.sample(SPEAKERS, rng.randrange(3))),
            memory_type=MemoryType.CONTEXT,
            date_ordinal=rng.choice([(), (day,), (day, day + 20, day + 40)]),
        )
    return Payload(
        project=rng.choice(PROJECTS),
        series=rng.choice([None, *SERIES]),
        meeting_id=rng.choice(MEETINGS),
        speaker=rng.choice([None, *SPEAKERS]),
        memory_type=rng.choice(list(MemoryType)),
        date_ordinal=rng.choice([None, day]),
    )


def point(rng: random.Random, level: Level, memory_id: str | None = None) -> Point:
    return Point(memory_id=memory_id or new_id(rng), vector=vector(rng), payload=payload(rng, level))


def filters(rng: random.Random) -> Filters:
    """None, one or several of the filters; the values sometimes match nothing."""
    first = START + timedelta(days=rng.randrange(70))
    every: dict[str, object] = {
        "project": rng.choice([("atlas",), PROJECTS, ("nowhere",)]),
        "series": tuple(rng.sample(SERIES, rng.randint(1, 2))),
        "meeting_id": tuple(rng.sample(MEETINGS, rng.randint(1, 3))),
        "speaker": tuple(rng.sample(SPEAKERS, rng.randint(1, 2))),
        "memory_type": tuple(rng.sample(list(MemoryType), rng.randint(1, 4))),
        "date_from": first,
        "date_to": first + timedelta(days=rng.randrange(-3, 30)),
        "level": (Level.CONTEXT,),
    }
    names = rng.sample(sorted(every), rng.choice([0, 1, 1, 1, 2, 3]))
    return Filters(**{name: every[name] for name in names})  # type: ignore[arg-type]


def many(value: str | int | Sequence[str] | Sequence[int] | None) -> set[str | int]:
    if value is None:
        return set()
    return {value} if isinstance(value, str | int) else set(value)


def matches(stored: Payload, wanted: Filters) -> bool:
    for name in ("project", "series", "meeting_id", "speaker", "memory_type"):
        values = getattr(wanted, name)
        if values and not many(getattr(stored, name)) & set(values):
            return False
    if wanted.date_from is None and wanted.date_to is None:
        return True
    first = wanted.date_from.toordinal() if wanted.date_from else 0
    last = wanted.date_to.toordinal() if wanted.date_to else date.max.toordinal()
    return any(first <= int(ordinal) <= last for ordinal in many(stored.date_ordinal))


def scores(stored: Mapping[str, Point], asked: Float32s, wanted: Filters) -> dict[str, float]:
    return {
        memory_id: float(point.vector.astype(np.float64) @ asked)
        for memory_id, point in stored.items()
        if matches(point.payload, wanted)
    }


def assert_same(found: Sequence[Hit], truth: Mapping[str, float], limit: int) -> None:
    """The hits are the best of `truth`; two whose scores are nearly equal may have changed places."""
    best = sorted(truth.values(), reverse=True)[:limit]
    assert [hit.score for hit in found] == pytest.approx(best, abs=NEAR)
    assert len({hit.memory_id for hit in found}) == len(found)
    for hit in found:
        assert hit.score == pytest.approx(truth[hit.memory_id], abs=NEAR)
    assert list(found) == sorted(found, key=lambda hit: (-hit.score, hit.memory_id))


@pytest.mark.parametrize("seed", range(3))
async def test_any_run_of_operations_leaves_what_a_dictionary_would_hold(
    index: VectorIndex, seed: int
) -> None:
    rng = random.Random(seed)
    stored: Stored = {level: {} for level in Level}
    for _ in range(40):
        level = rng.choice(list(Level))
        match rng.choice(["insert", "insert", "replace", "delete", "search", "search", "search"]):
            case "insert":
                points = [point(rng, level) for _ in range(rng.randint(1, 40))]
                await index.upsert(level, points)
                stored[level].update((new.memory_id, new) for new in points)
            case "replace":
                ids = rng.sample(sorted(stored[level]), min(5, len(stored[level])))
                points = [point(rng, level, memory_id) for memory_id in ids]
                await index.upsert(level, points)
                stored[level].update((new.memory_id, new) for new in points)
            case "delete":
                ids = rng.sample(sorted(stored[level]), min(3, len(stored[level])))
                await index.delete(level, [*ids, new_id(rng)])
                for memory_id in ids:
                    del stored[level][memory_id]
            case "search":
                wanted = filters(rng)
                asked = query(rng, {rng.randrange(16): rng.choice([0.0, 0.2, -0.5])})
                limits = {one: rng.choice([1, 5, 50]) for one in rng.sample(list(Level), rng.randint(1, 3))}
                found = await index.search(asked, limits, wanted)
                assert set(found) == set(limits)
                for one, limit in limits.items():
                    assert_same(found[one], scores(stored[one], asked, wanted), limit)
    assert await index.counts() == {level: len(points) for level, points in stored.items()}
    for level in Level:
        assert await index.ids(level) == set(stored[level])


FEBRUARY = Filters(date_from=date(2024, 2, 1), date_to=date(2024, 2, 29))


EACH = (
    Filters(),
    Filters(project=("atlas",)),
    Filters(series=("retro",)),
    Filters(meeting_id=MEETINGS[:2]),
    Filters(speaker=("Çelik", "D'Arcy")),
    Filters(memory_type=(MemoryType.DECISION, MemoryType.CONTEXT)),
    Filters(date_from=date(2024, 2, 1)),
    Filters(date_to=date(2024, 1, 31)),
    FEBRUARY,
    Filters(date_from=date(2024, 2, 29), date_to=date(2024, 2, 1)),
    Filters(project=("atlas",), speaker=("Ana",), date_from=date(2024, 1, 10)),
    Filters(project=("nowhere",)),
)


async def test_each_filter_keeps_exactly_what_it_names(index: VectorIndex) -> None:
    rng = random.Random(11)
    stored: Stored = {}
    for level in Level:
        points = [point(rng, level) for _ in range(120)]
        await index.upsert(level, points)
        stored[level] = {new.memory_id: new for new in points}
    asked = query(rng)
    for wanted in EACH:
        found = await index.search(asked, dict.fromkeys(Level, 200), wanted)
        for level in Level:
            truth = scores(stored[level], asked, wanted)
            assert {hit.memory_id for hit in found[level]} == set(truth), wanted
            assert_same(found[level], truth, 200)


async def test_two_dates_around_a_range_do_not_match_it(index: VectorIndex) -> None:
    rng = random.Random(2)
    around = [date(2024, 1, 31).toordinal(), date(2024, 3, 1).toordinal()]
    inside = [*around, date(2024, 2, 29).toordinal()]
    points = [
        Point(memory_id=new_id(rng), vector=vector(rng), payload=Payload(date_ordinal=ordinals))
        for ordinals in (around, inside, None)
    ]
    await index.upsert(Level.CONCEPT, points)
    found = await index.search(query(rng), {Level.CONCEPT: 5}, FEBRUARY)
    assert [hit.memory_id for hit in found[Level.CONCEPT]] == [points[1].memory_id]


async def test_without_weights_the_ranking_is_the_cosine_of_the_384(index: VectorIndex) -> None:
    rng = random.Random(3)
    points = [point(rng, Level.EPISODE) for _ in range(300)]
    await index.upsert(Level.EPISODE, points)
    asked = query(rng)
    found = (await index.search(asked, {Level.EPISODE: 25}, Filters()))[Level.EPISODE]
    matrix = np.stack([point.vector[:384] for point in points]).astype(np.float64)
    cosine = matrix @ asked[:384] / np.linalg.norm(matrix, axis=1) / np.linalg.norm(asked[:384])
    best = np.argsort(-cosine)[:25]
    assert [hit.memory_id for hit in found] == [points[row].memory_id for row in best]
    assert [hit.score for hit in found] == pytest.approx(list(cosine[best]), abs=NEAR)


async def test_a_steered_query_adds_the_weighted_features(index: VectorIndex) -> None:
    rng = random.Random(4)
    same = unit(rng)
    points = [
        Point(
            memory_id=new_id(rng),
            vector=np.concatenate([same, np.full(16, share, dtype=np.float32)]),
            payload=Payload(),
        )
        for share in (0.0, 0.25, 1.0)
    ]
    await index.upsert(Level.EPISODE, points)
    asked = np.concatenate([same, np.zeros(16, dtype=np.float32)])
    asked[384], asked[386] = 0.2, 0.4
    found = (await index.search(asked, {Level.EPISODE: 3}, Filters()))[Level.EPISODE]
    assert [hit.memory_id for hit in found] == [point.memory_id for point in reversed(points)]
    assert [hit.score for hit in found] == pytest.approx([1.6, 1.15, 1.0], abs=NEAR)


async def test_equal_scores_are_cut_by_id(index: VectorIndex) -> None:
    rng = random.Random(5)
    same = np.zeros(400, dtype=np.float32)
    same[7] = 1.0
    ids = sorted(new_id(rng) for _ in range(200))
    shuffled = rng.sample(ids, len(ids))
    await index.upsert(
        Level.EPISODE, [Point(memory_id=memory_id, vector=same, payload=Payload()) for memory_id in shuffled]
    )
    for limit in (1, 5, 40, 150):
        found = (await index.search(same, {Level.EPISODE: limit}, Filters()))[Level.EPISODE]
        assert found == [Hit(memory_id=memory_id, score=1.0) for memory_id in ids[:limit]]


async def test_a_batch_with_one_bad_vector_changes_nothing(index: VectorIndex) -> None:
    rng = random.Random(6)
    kept = point(rng, Level.EPISODE)
    await index.upsert(Level.EPISODE, [kept])
    for bad in (
        np.full(400, np.nan, dtype=np.float32),
        np.zeros(3, dtype=np.float32),
        np.concatenate([unit(rng), np.full(16, 1.5, dtype=np.float32)]),
    ):
        worse = [
            point(rng, Level.EPISODE),
            point(rng, Level.EPISODE, kept.memory_id),
            Point(memory_id=new_id(rng), vector=bad, payload=Payload()),
        ]
        with pytest.raises(InvalidInput):
            await index.upsert(Level.EPISODE, worse)
    with pytest.raises(InvalidInput):
        await index.delete(Level.EPISODE, [kept.memory_id, "not-a-uuid"])
    asked = query(rng)
    found = (await index.search(asked, {Level.EPISODE: 5}, Filters()))[Level.EPISODE]
    assert_same(found, scores({kept.memory_id: kept}, asked, Filters()), 5)


async def test_a_bad_query_is_refused(index: VectorIndex) -> None:
    with pytest.raises(InvalidInput):
        await index.search(np.zeros(400, dtype=np.float32), {Level.EPISODE: 5}, Filters())
    with pytest.raises(InvalidInput):
        await index.search(query(random.Random(0)), {Level.EPISODE: 0}, Filters())


async def test_an_empty_index_answers_with_nothing(index: VectorIndex) -> None:
    found = await index.search(query(random.Random(0)), {Level.CONCEPT: 5, Level.EPISODE: 5}, Filters())
    assert found == {Level.CONCEPT: [], Level.EPISODE: []}
    assert await index.counts() == dict.fromkeys(Level, 0)
    assert await index.ids(Level.CONTEXT) == set()
    await index.upsert(Level.EPISODE, [])
    await index.delete(Level.EPISODE, [])
    await index.flush()


async def test_the_coverage_counts_all_levels(index: VectorIndex) -> None:
    rng = random.Random(7)
    for level in Level:
        await index.upsert(level, [point(rng, level) for _ in range(5)])
    coverage = await index.coverage()
    assert coverage.points == 15
    assert 0 <= coverage.indexed <= 15
    assert not coverage.building
    assert coverage.build_s is None


async def test_clearing_leaves_empty_collections_that_work(index: VectorIndex) -> None:
    rng = random.Random(8)
    for level in Level:
        await index.upsert(level, [point(rng, level) for _ in range(10)])
    await index.clear()
    assert await index.counts() == dict.fromkeys(Level, 0)
    new = point(rng, Level.CONTEXT)
    await index.upsert(Level.CONTEXT, [new])
    found = await index.search(query(rng), dict.fromkeys(Level, 3), Filters(project=PROJECTS))
    assert [hit.memory_id for hit in found[Level.CONTEXT]] == [new.memory_id]


@pytest.mark.parametrize("kind", ["edge", "server"])
async def test_a_closed_index_refuses_and_closes_again(kind: str, tmp_path: Path) -> None:
    index = await opened(kind, tmp_path / "vectors")
    assert index.kind == kind
    await index.aclose()
    await index.aclose()
    with pytest.raises(VectorStoreUnavailable, match="closed"):
        await index.counts()
    with pytest.raises(VectorStoreUnavailable, match="closed"):
        await index.search(query(random.Random(0)), {Level.EPISODE: 5}, Filters())
