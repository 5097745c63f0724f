"""A server that is away, silent or holds something else is told apart from one that answers."""

import asyncio
import socket
import time
import uuid
from collections.abc import AsyncIterator
from datetime import date
from pathlib import Path

import numpy as np
import pytest
import pytest_asyncio
from ports import free_port
from processes import vector_server
from qdrant_client import AsyncQdrantClient, models

from cofio.errors import VectorStoreUnavailable
from cofio.records import Filters, Level
from cofio.store.vectors import COLLECTIONS, HNSW, Payload, Point
from cofio.store.vectors_server import ServerIndex

pytestmark = pytest.mark.filterwarnings("ignore:Payload indexes have no effect in the local Qdrant")

ID = "0b6bb27c-6b3b-5f0e-8e0c-1f2a3b4c5d6e"


@pytest_asyncio.fixture
async def client() -> AsyncIterator[AsyncQdrantClient]:
    made = AsyncQdrantClient(location=":memory:")
    yield made
    await made.close()


@pytest.mark.parametrize("prefer_grpc", [False, True])
async def test_a_server_that_is_not_there_is_unavailable(prefer_grpc: bool) -> None:
    index = ServerIndex.at(f"http://127.0.0.1:{free_port()}", prefer_grpc=prefer_grpc, timeout_s=2)
    with pytest.raises(VectorStoreUnavailable, match="vector server failed"):
        await index.ready()
    await index.aclose()


@pytest.mark.parametrize("prefer_grpc", [False, True])
async def test_every_call_tells_that_the_server_went_away(prefer_grpc: bool) -> None:
    gone = AsyncQdrantClient(
        url="http://127.0.0.1",
        port=free_port(),
        grpc_port=free_port(),
        prefer_grpc=prefer_grpc,
        timeout=2,
        check_compatibility=False,
    )
    index = ServerIndex(gone)
    vector = np.zeros(400, dtype=np.float32)
    vector[0] = 1.0
    payload = Payload(project="p", speaker=["Ana", "Ben"], date_ordinal=[738000, 738001])
    every = Filters(project=("p",), date_from=date(2024, 1, 1), date_to=date(2024, 2, 1))
    for call in (
        index.upsert(Level.CONCEPT, [Point(memory_id=ID, vector=vector, payload=payload)]),
        index.delete(Level.EPISODE, [ID]),
        index.search(vector, {Level.EPISODE: 5, Level.CONCEPT: 5}, every),
        index.counts(),
        index.ids(Level.CONTEXT),
        index.clear(),
    ):
        with pytest.raises(VectorStoreUnavailable, match="vector server failed"):
            await call
    await index.aclose()


async def test_a_server_that_never_answers_is_unavailable_in_time() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        index = ServerIndex.at(url, prefer_grpc=False, timeout_s=1)
        started = time.monotonic()
        with pytest.raises(VectorStoreUnavailable):
            await index.ready()
        assert time.monotonic() - started < 5
        await index.aclose()


async def test_a_server_that_answers_with_an_error_is_unavailable() -> None:
    left = asyncio.Event()

    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        await writer.drain()
        writer.close()
        await writer.wait_closed()
        left.set()

    async with await asyncio.start_server(refuse, "127.0.0.1", 0) as refusing:
        url = f"http://127.0.0.1:{refusing.sockets[0].getsockname()[1]}"
        index = ServerIndex.at(url, prefer_grpc=False, timeout_s=2)
        with pytest.raises(VectorStoreUnavailable, match="401"):
            await index.ready()
        await index.aclose()
        await left.wait()


async def test_collections_are_made_once_and_found_again(client: AsyncQdrantClient) -> None:
    await ServerIndex(client).ready()
    await ServerIndex(client).ready()
    names = {collection.name for collection in (await client.get_collections()).collections}
    assert names == set(COLLECTIONS.values())
    for name in COLLECTIONS.values():
        vectors = (await client.get_collection(name)).config.params.vectors
        assert isinstance(vectors, models.VectorParams)
        assert (vectors.size, vectors.distance) == (400, models.Distance.DOT)


async def test_a_large_write_lets_the_event_loop_turn(tmp_path: Path) -> None:
    vector = np.zeros(400, dtype=np.float32)
    vector[0] = 1.0
    payload = Payload(project="p", memory_type="fact", speaker="Ana", meeting_id=ID, date_ordinal=738000)
    points = [Point(memory_id=str(uuid.UUID(int=i)), vector=vector, payload=payload) for i in range(4096)]
    turns: list[float] = []

    async def watch() -> None:
        """What each turn of the loop takes of this thread's time, whatever else the machine does."""
        while True:
            started = time.thread_time()
            await asyncio.sleep(0)
            turns.append(time.thread_time() - started)

    with vector_server(tmp_path) as url:
        index = ServerIndex.at(url)
        await index.ready()
        watching = asyncio.create_task(watch())
        await index.upsert(Level.EPISODE, points)
        watching.cancel()
        assert (await index.counts())[Level.EPISODE] == 4096
        await index.aclose()
    # Parts of 512 would be eight turns of more than 20 ms; Python's collector may take one or two.
    assert sum(turn > 0.012 for turn in turns) < 4


def test_the_graph_is_densest_where_memories_are_fewest() -> None:
    assert [(HNSW[level].m, HNSW[level].ef_construct) for level in Level] == [(32, 400), (24, 300), (16, 200)]


@pytest.mark.parametrize(
    "vectors",
    [
        models.VectorParams(size=384, distance=models.Distance.DOT),
        models.VectorParams(size=400, distance=models.Distance.COSINE),
        {"text": models.VectorParams(size=400, distance=models.Distance.DOT)},
    ],
)
async def test_a_collection_of_another_kind_is_refused(
    client: AsyncQdrantClient, vectors: models.VectorParams | dict[str, models.VectorParams]
) -> None:
    await client.create_collection(COLLECTIONS[Level.CONTEXT], vectors_config=vectors)
    with pytest.raises(VectorStoreUnavailable, match=COLLECTIONS[Level.CONTEXT]):
        await ServerIndex(client).ready()
