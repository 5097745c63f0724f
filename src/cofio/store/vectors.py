"""The vector index as the rest of cofio sees it: records, checks and one interface with two adapters.

The index holds nothing that SQLite does not: it can be thrown away and built again. One collection a level,
each with one vector of 400 float32 a memory: 384 semantic numbers of norm 1, then 16 features in [0, 1].
Vectors are never renormalised and are compared by inner product, so that a query with zeros in its last 16
dimensions ranks exactly as the cosine of the 384 would, and a query with weights there adds those features.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final, Protocol

import numpy as np

from cofio.errors import InvalidInput, InvalidVector
from cofio.records import SEMANTIC_DIMENSIONS, VECTOR_DIMENSIONS, Filters, Float32s, Level
from cofio.vector_rules import are_unit, check_vectors

COLLECTIONS: Final[Mapping[Level, str]] = MappingProxyType(
    {
        Level.CONCEPT: "cofio_l0_concepts",
        Level.CONTEXT: "cofio_l1_contexts",
        Level.EPISODE: "cofio_l2_episodes",
    }
)
KEYWORD_FIELDS: Final = ("project", "series", "meeting_id", "speaker", "memory_type")
DATE_FIELD: Final = "date_ordinal"
FEATURE_SCALE: Final = 1 / 16
"""What stored features are multiplied by, and a query's weights divided by: products stay the same to the bit.

An HNSW graph links what is near *among the stored*. With features as they are, their products (up to 16)
outweigh the semantic ones (up to 1), and a graph of 100,000 turns found .10 of the ten nearest; so scaled, .997.
"""

_CANONICAL: Final = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")

Keywords = str | Sequence[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Hnsw:
    """A level's graph: edges a node, candidates while building, and while searching."""

    m: int
    ef_construct: int
    ef: int


# The fewer and broader a level's memories, the denser its graph. `ef` was measured over 100,000 turns indexed in two
# steps with `m` 16 and `ef_construct` 200, recall@10 against a scan: 64 .985, 128 .993, 200 .998, 400 .998; the time
# goes from .24 to .5 ms a search between 64 and 200 (docs/decisions/0006-index-beside.md). Over a million that came meeting by
# meeting: 200 .85, 400 .91, 800 .96, in 2.0, 3.1 and 3.4 ms; of fewer than 150,000 no question asks the index for episodes.
HNSW: Final[Mapping[Level, Hnsw]] = MappingProxyType(
    {
        Level.CONCEPT: Hnsw(m=32, ef_construct=400, ef=200),
        Level.CONTEXT: Hnsw(m=24, ef_construct=300, ef=200),
        Level.EPISODE: Hnsw(m=16, ef_construct=200, ef=800),
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Payload:
    """What filters look at. A field with several values matches where any one of them does.

    `date_ordinal` is `date.toordinal()`. None or an empty sequence: the field is missing, and no filter on it
    matches.
    """

    project: Keywords | None = None
    series: Keywords | None = None
    meeting_id: Keywords | None = None
    speaker: Keywords | None = None
    memory_type: Keywords | None = None
    date_ordinal: int | Sequence[int] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """One memory in the index: its uuid, its (400,) float32 vector, and what filters look at."""

    memory_id: str
    vector: Float32s
    payload: Payload


@dataclass(frozen=True, slots=True, kw_only=True)
class Hit:
    """A memory that a search found, with its inner product rounded to six decimals (see `ties`)."""

    memory_id: str
    score: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """Checked points as columns: row i of `vectors` (n, 400) float32 and `payloads[i]` belong to `ids[i]`.

    `vectors` are as engines store them: features are multiplied by `FEATURE_SCALE`.
    """

    ids: tuple[str, ...]
    vectors: Float32s
    payloads: tuple[Mapping[str, object], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Conditions:
    """Checked filters: all of them must hold.

    `keywords` are pairs of a field and the values of which one must match. `first` and `last` bound the
    date's ordinal, both inclusive; None leaves that side open.
    """

    keywords: tuple[tuple[str, tuple[str, ...]], ...]
    first: int | None
    last: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Coverage:
    """How far the graphs go: `indexed` of the `points`; what is not indexed is scanned exactly.

    `building` says whether more is being indexed now, `build_s` how long the last time took, in seconds; None
    before the first, and where the engine does not tell.
    """

    points: int
    indexed: int
    building: bool
    build_s: float | None


class VectorIndex(Protocol):
    """The vectors of all memories, in one collection a level. Every call may be repeated without harm.

    Each method raises `VectorStoreUnavailable` when the engine cannot be reached or refuses, and
    `InvalidInput`, before anything is applied, when what it is given breaks a rule.
    """

    @property
    def kind(self) -> str:
        """Which engine answers: `edge` or `server`."""
        ...

    @property
    def process_id(self) -> int | None:
        """The id of the engine's process, None while there is none, or where it is not ours."""
        ...

    async def ready(self) -> None:
        """The engine answers and has its collections; what was missing of them is there, and empty."""
        ...

    async def upsert(self, level: Level, points: Sequence[Point]) -> None:
        """The points are in the index, vectors and payloads replaced where the ids were there before.

        Where one id occurs twice, its last point counts. They survive the death of this process; whether
        they survive a power cut before `flush` is the engine's affair.
        """
        ...

    async def delete(self, level: Level, memory_ids: Sequence[str]) -> None:
        """None of the ids is in the index; ids that were not there are fine."""
        ...

    async def search(
        self, vector: Float32s, limits: Mapping[Level, int], filters: Filters, *, rescored: bool = True
    ) -> Mapping[Level, list[Hit]]:
        """The best hits of each level in `limits`, at most so many, best first, ties by id.

        Scores are exact, unless they need not be `rescored`: then an engine may leave them, and what is best by them, as its
        index has them, some hundredths off, and read no vector from its files. Among points that are not indexed (see `coverage`) no better one is missed; among
        indexed ones a few may be: of the ten best, on average, at most one or two in a hundred. `filters.level` is not looked at: a level that is not in `limits` is not searched.
        """
        ...

    async def counts(self) -> Mapping[Level, int]:
        """The exact number of points of every level."""
        ...

    async def coverage(self) -> Coverage:
        """How many points there are over all levels, and how many of them the graphs cover."""
        ...

    async def ids(self, level: Level) -> set[str]:
        """The ids of all points of the level."""
        ...

    async def clear(self) -> None:
        """Every collection is empty, and new."""
        ...

    async def flush(self) -> None:
        """What was upserted or deleted before survives a power cut."""
        ...

    async def purge(self) -> bool:
        """Nothing of what was deleted before is left in the engine's files; this may take minutes, beside searches.

        Returns False where the files are not ours: a server gives up the space of deleted points when it sees fit.
        """
        ...

    async def aclose(self) -> None:
        """The index is closed; closing twice is harmless, any other call raises `VectorStoreUnavailable`."""
        ...


def checked_points(points: Sequence[Point]) -> Batch:
    """The points as columns, one row an id; raises `InvalidInput` for the whole batch if one breaks a rule.

    Engines differ in what they refuse: Qdrant Edge takes NaN without a word and half-applies a batch whose
    last vector has the wrong length. So nothing reaches an engine unchecked.
    """
    last = {point.memory_id: point for point in points}
    ids = tuple(last)
    check_ids(ids)
    for point in last.values():
        _check_array(point.vector, f"vector of {point.memory_id}")
    rows = [point.vector for point in last.values()]
    vectors = np.stack(rows) if rows else np.empty((0, VECTOR_DIMENSIONS), dtype=np.float32)
    check_vectors(ids, vectors)
    vectors[:, SEMANTIC_DIMENSIONS:] *= np.float32(FEATURE_SCALE)
    payloads = tuple(_payload_fields(point.payload) for point in last.values())
    return Batch(ids=ids, vectors=vectors, payloads=payloads)


def checked_query(vector: Float32s) -> Float32s:
    """The query's vector as engines need it, its weights divided by `FEATURE_SCALE`; raises `InvalidInput` unless it is (400,) float32, finite and unit.

    Its last 16 numbers are weights, not features, so that they may have any finite value.
    """
    _check_array(vector, "query vector")
    scaled = vector.copy()
    with np.errstate(over="ignore", invalid="ignore"):  # what is not finite is refused just below
        scaled[SEMANTIC_DIMENSIONS:] /= np.float32(FEATURE_SCALE)
    if not np.isfinite(scaled).all():
        raise InvalidVector(
            "The query vector holds a number that is not finite, or too large.", field="vector"
        )
    if not are_unit(vector[None, :SEMANTIC_DIMENSIONS]).all():
        raise InvalidVector("The semantic part of the query vector has a norm that is not 1.", field="vector")
    return scaled


def checked_limits(limits: Mapping[Level, int]) -> Mapping[Level, int]:
    """The limits in the order of the levels; raises `InvalidInput` for one below 1."""
    for level, limit in limits.items():
        if limit < 1:
            raise InvalidInput(
                f"The limit of {level.label} is {limit}; at least 1 is needed.", field="limits"
            )
    return {level: int(limits[level]) for level in sorted(limits)}


def check_ids(memory_ids: Iterable[str]) -> None:
    """Every id is a uuid in its canonical spelling, or `InvalidInput` is raised.

    Another spelling of the same uuid would come back from the engine in the canonical one, and match nothing.
    """
    for memory_id in memory_ids:
        if isinstance(memory_id, str) and _CANONICAL.fullmatch(memory_id):  # a tenth of the time
            continue
        try:
            canonical = str(uuid.UUID(memory_id))
        except (ValueError, AttributeError, TypeError) as error:
            raise InvalidInput(f"{memory_id!r} is not a uuid.", field="memory_id") from error
        if canonical != memory_id:
            raise InvalidInput(f"{memory_id!r} is not written as {canonical!r}.", field="memory_id")


def conditions(filters: Filters) -> Conditions:
    """The filters as both adapters read them; `filters.level` is left to the caller's limits."""
    given = {name: getattr(filters, name) for name in KEYWORD_FIELDS}
    return Conditions(
        keywords=tuple((name, _keywords(name, values)) for name, values in given.items() if values),
        first=filters.date_from.toordinal() if filters.date_from else None,
        last=filters.date_to.toordinal() if filters.date_to else None,
    )


def chunks(batch: Batch, size: int) -> Iterator[Batch]:
    """The batch in parts of at most `size` rows, in order."""
    for start in range(0, len(batch.ids), size):
        part = slice(start, start + size)
        yield Batch(ids=batch.ids[part], vectors=batch.vectors[part], payloads=batch.payloads[part])


def _check_array(vector: Float32s, what: str) -> None:
    if (
        not isinstance(vector, np.ndarray)
        or vector.dtype != np.float32
        or vector.shape != (VECTOR_DIMENSIONS,)
    ):
        shape = getattr(vector, "shape", None)
        dtype = getattr(vector, "dtype", type(vector).__name__)
        raise InvalidVector(
            f"The {what} is {dtype} of shape {shape}; float32 of shape ({VECTOR_DIMENSIONS},) is needed.",
            field="vector",
        )


def _payload_fields(payload: Payload) -> Mapping[str, object]:
    fields: dict[str, object] = {}
    for name in KEYWORD_FIELDS:
        value = getattr(payload, name)
        if value is not None and len(value):
            fields[name] = (
                list(_keywords(name, value)) if not isinstance(value, str) else _keyword(name, value)
            )
    ordinal = payload.date_ordinal
    if isinstance(ordinal, Sequence):
        if ordinal:
            fields[DATE_FIELD] = [_ordinal(value) for value in ordinal]
    elif ordinal is not None:
        fields[DATE_FIELD] = _ordinal(ordinal)
    return fields


def _keywords(name: str, values: Sequence[str]) -> tuple[str, ...]:
    return tuple(_keyword(name, value) for value in values)


def _keyword(name: str, value: str) -> str:
    """A plain str: an enum's member would drag its module into the engine's process."""
    if not isinstance(value, str):
        raise InvalidInput(f"{value!r} is no text.", field=name)
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise InvalidInput(f"{value!r} cannot be written as UTF-8.", field=name) from error
    return str(value)


def _ordinal(value: int) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise InvalidInput(f"{value!r} is no ordinal of a date.", field=DATE_FIELD)
    return value
