"""The vector index on a Qdrant server or cluster, through its asynchronous client.

Importing the client takes seconds, so nothing else imports it, and only the runtime imports this module.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Final, Self
from urllib.parse import urlsplit

import grpc  # type: ignore[import-untyped]
from qdrant_client import AsyncQdrantClient, models
from qdrant_client.common.client_exceptions import QdrantException
from qdrant_client.http.exceptions import ApiException

from cofio.errors import VectorStoreUnavailable
from cofio.records import VECTOR_DIMENSIONS, Filters, Float32s, Level
from cofio.store.ties import GROWTH, MOST, SLACK, cut, settled
from cofio.store.vectors import (
    COLLECTIONS,
    DATE_FIELD,
    HNSW,
    KEYWORD_FIELDS,
    Batch,
    Conditions,
    Coverage,
    Hit,
    Point,
    check_ids,
    checked_limits,
    checked_points,
    checked_query,
    chunks,
    conditions,
)

REST_PORT: Final = 6333  # of a URL that names none; gRPC is on the port after it, as Qdrant has it
# Points a request: the client makes messages of them on the event loop, which takes it 3 ms, and of 512 more than 20.
UPSERT_POINTS: Final = 64
DELETE_POINTS: Final = 4096
SCROLL_POINTS: Final = 10_000


class ServerIndex:
    """An open index on a server that other processes may use at the same time."""

    kind: Final = "server"

    def __init__(self, client: AsyncQdrantClient) -> None:
        self._client = client
        self._closed = False

    @classmethod
    def at(
        cls, url: str, *, api_key: str | None = None, prefer_grpc: bool = True, timeout_s: float = 10
    ) -> Self:
        """The index on the server at `url`, which is not asked yet: call `ready` for that.

        A call that has no answer within `timeout_s` (rounded up to whole seconds, as the client wants it) raises
        `VectorStoreUnavailable`.
        """
        return cls(
            AsyncQdrantClient(
                url=url,
                api_key=api_key,
                grpc_port=(urlsplit(url).port or REST_PORT) + 1,
                prefer_grpc=prefer_grpc,
                timeout=math.ceil(timeout_s),
                check_compatibility=False,  # it asks the server in the constructor, where it would block the loop
            )
        )

    @property
    def process_id(self) -> None:
        """None: the server is not ours."""

    async def ready(self) -> None:
        """As the interface says; also raises `VectorStoreUnavailable` for vectors of another size or distance."""
        async with self._answering():
            for level in COLLECTIONS:
                await self._ensure(level)

    async def upsert(self, level: Level, points: Sequence[Point]) -> None:
        batch = await asyncio.to_thread(checked_points, points)  # 15 µs a point would hold up the loop
        async with self._answering():
            for part in chunks(batch, UPSERT_POINTS):
                structs = await asyncio.to_thread(_structs, part)
                await self._client.upsert(COLLECTIONS[level], structs, wait=True)

    async def delete(self, level: Level, memory_ids: Sequence[str]) -> None:
        check_ids(memory_ids)
        async with self._answering():
            for start in range(0, len(memory_ids), DELETE_POINTS):
                ids: list[models.ExtendedPointId] = [*memory_ids[start : start + DELETE_POINTS]]
                await self._client.delete(COLLECTIONS[level], models.PointIdsList(points=ids), wait=True)

    async def search(
        self, vector: Float32s, limits: Mapping[Level, int], filters: Filters, *, rescored: bool = True
    ) -> Mapping[Level, list[Hit]]:
        wanted = checked_limits(limits)
        numbers = checked_query(vector).tolist()
        filter_ = _filter(conditions(filters))
        async with self._answering():
            # A batch cannot span collections, so the levels are asked at the same time, each on its own.
            found = await asyncio.gather(
                *(self._best(level, numbers, limit, filter_) for level, limit in wanted.items())
            )
        return dict(zip(wanted, found, strict=True))

    async def counts(self) -> Mapping[Level, int]:
        async with self._answering():
            return {
                level: (await self._client.count(name, exact=True)).count
                for level, name in COLLECTIONS.items()
            }

    async def coverage(self) -> Coverage:
        async with self._answering():
            states = [await self._client.get_collection(name) for name in COLLECTIONS.values()]
        return Coverage(
            points=sum(state.points_count or 0 for state in states),
            indexed=sum(state.indexed_vectors_count or 0 for state in states),
            building=any(state.status is models.CollectionStatus.YELLOW for state in states),
            build_s=None,
        )

    async def ids(self, level: Level) -> set[str]:
        found: set[str] = set()
        start: models.ExtendedPointId | None = None
        async with self._answering():
            while True:
                records, start = await self._client.scroll(
                    COLLECTIONS[level],
                    limit=SCROLL_POINTS,
                    offset=start,
                    with_payload=False,
                    with_vectors=False,
                )
                found.update(str(record.id) for record in records)
                if start is None:
                    return found

    async def clear(self) -> None:
        async with self._answering():
            for level, name in COLLECTIONS.items():
                await self._client.delete_collection(name)
                await self._ensure(level)

    async def flush(self) -> None:
        """Nothing is left to do: every write waits for the server, whose log is its own affair."""

    async def purge(self) -> bool:
        return False

    async def aclose(self) -> None:
        if not self._closed:
            self._closed = True
            await self._client.close()

    async def _ensure(self, level: Level) -> None:
        """The collection is there, with vectors of our size and distance and its payload fields indexed."""
        name = COLLECTIONS[level]
        if not await self._client.collection_exists(name):
            try:
                await self._client.create_collection(
                    name,
                    vectors_config=models.VectorParams(size=VECTOR_DIMENSIONS, distance=models.Distance.DOT),
                    hnsw_config=models.HnswConfigDiff(m=HNSW[level].m, ef_construct=HNSW[level].ef_construct),
                )
            except _REFUSALS:
                # Another worker may have been quicker; if not, this is the error to tell.
                if not await self._client.collection_exists(name):
                    raise
        vectors = (await self._client.get_collection(name)).config.params.vectors
        if (
            not isinstance(vectors, models.VectorParams)
            or vectors.size != VECTOR_DIMENSIONS
            or vectors.distance != models.Distance.DOT
        ):
            raise VectorStoreUnavailable(
                f"The collection {name} holds vectors of another kind ({vectors}). "
                f"{VECTOR_DIMENSIONS} numbers, compared by inner product, are needed: "
                "remove it, or use another server."
            )
        for field in KEYWORD_FIELDS:
            await self._client.create_payload_index(name, field, models.PayloadSchemaType.KEYWORD)
        await self._client.create_payload_index(name, DATE_FIELD, models.PayloadSchemaType.INTEGER)

    async def _best(
        self, level: Level, numbers: list[float], limit: int, filter_: models.Filter | None
    ) -> list[Hit]:
        asked = limit + SLACK
        while True:
            answer = await self._client.query_points(
                COLLECTIONS[level],
                query=numbers,
                query_filter=filter_,
                limit=asked,
                with_payload=False,
                with_vectors=False,
            )
            if settled([point.score for point in answer.points], limit, asked):
                best = cut([(str(point.id), point.score) for point in answer.points], limit)
                return [Hit(memory_id=memory_id, score=score) for memory_id, score in best]
            asked = min(asked * GROWTH, MOST)

    @asynccontextmanager
    async def _answering(self) -> AsyncIterator[None]:
        """Whatever the client raises inside is raised as `VectorStoreUnavailable`."""
        if self._closed:
            raise VectorStoreUnavailable("The vector index is closed.")
        try:
            yield
        except _REFUSALS as error:
            raise VectorStoreUnavailable(f"The vector server failed: {error}") from error


_REFUSALS: Final = (ApiException, QdrantException, grpc.RpcError, OSError)  # OSError: timeouts among others


def _structs(part: Batch) -> list[models.PointStruct]:
    rows = zip(part.ids, part.vectors.tolist(), part.payloads, strict=True)
    return [models.PointStruct(id=id_, vector=row, payload=dict(fields)) for id_, row, fields in rows]


def _filter(given: Conditions) -> models.Filter | None:
    must: list[models.Condition] = [
        models.FieldCondition(key=name, match=models.MatchAny(any=list(values)))
        for name, values in given.keywords
    ]
    if given.first is not None or given.last is not None:
        # One condition with both ends: in a list of dates a single one must lie between them.
        dates = models.Range(gte=given.first, lte=given.last)
        must.append(models.FieldCondition(key=DATE_FIELD, range=dates))
    return models.Filter(must=must) if must else None
