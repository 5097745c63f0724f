"""A stand-in for a Qdrant server: Qdrant's own gRPC interface in front of qdrant-client's local mode, in memory.

`python vector_server.py PORT` serves on the port after PORT, where cofio looks for the gRPC of a server whose URL has
PORT. It answers what cofio asks and no more, and tells nothing of a real server's speed, indexing or durability. Writes
take it a while, each another, so that what two clients send at once arrives in any order.
"""

from __future__ import annotations

import asyncio
import random
import sys
import time
import warnings
from typing import Any, Final

import grpc as transport  # type: ignore[import-untyped]
from qdrant_client import AsyncQdrantClient, grpc
from qdrant_client.conversions.conversion import GrpcToRest, RestToGrpc
from qdrant_client.http.models import ExtendedPointId, PayloadSchemaType, PointIdsList

SLOWEST_WRITE_S: Final = 0.05


class Collections(grpc.CollectionsServicer):
    """The collections of the client behind."""

    def __init__(self, client: AsyncQdrantClient) -> None:
        self._client = client

    async def CollectionExists(self, request: Any, context: Any) -> Any:  # noqa: N802  gRPC's names
        exists = await self._client.collection_exists(request.collection_name)
        return grpc.CollectionExistsResponse(result=grpc.CollectionExists(exists=exists))

    async def Create(self, request: Any, context: Any) -> Any:  # noqa: N802
        if await self._client.collection_exists(request.collection_name):
            await context.abort(transport.StatusCode.ALREADY_EXISTS, "the collection exists")
        made = await self._client.create_collection(
            request.collection_name, vectors_config=GrpcToRest.convert_vectors_config(request.vectors_config)
        )
        return grpc.CollectionOperationResponse(result=made)

    async def Delete(self, request: Any, context: Any) -> Any:  # noqa: N802
        return grpc.CollectionOperationResponse(
            result=await self._client.delete_collection(request.collection_name)
        )

    async def Get(self, request: Any, context: Any) -> Any:  # noqa: N802
        found = await self._client.get_collection(request.collection_name)
        return grpc.GetCollectionInfoResponse(result=RestToGrpc.convert_collection_info(found))


class Points(grpc.PointsServicer):
    """The points of the client behind."""

    def __init__(self, client: AsyncQdrantClient) -> None:
        self._client = client

    async def CreateFieldIndex(self, request: Any, context: Any) -> Any:  # noqa: N802
        made = await self._client.create_payload_index(
            request.collection_name, request.field_name, PayloadSchemaType.KEYWORD
        )
        return grpc.PointsOperationResponse(result=RestToGrpc.convert_update_result(made))

    async def Upsert(self, request: Any, context: Any) -> Any:  # noqa: N802
        await asyncio.sleep(random.uniform(0, SLOWEST_WRITE_S))
        points = [GrpcToRest.convert_point_struct(point) for point in request.points]
        done = await self._client.upsert(request.collection_name, points)
        return grpc.PointsOperationResponse(result=RestToGrpc.convert_update_result(done))

    async def Delete(self, request: Any, context: Any) -> Any:  # noqa: N802
        await asyncio.sleep(random.uniform(0, SLOWEST_WRITE_S))
        ids: list[ExtendedPointId] = [GrpcToRest.convert_point_id(one) for one in request.points.points.ids]
        done = await self._client.delete(request.collection_name, PointIdsList(points=ids))
        return grpc.PointsOperationResponse(result=RestToGrpc.convert_update_result(done))

    async def Query(self, request: Any, context: Any) -> Any:  # noqa: N802
        started = time.perf_counter()
        found = await self._client.query_points(
            request.collection_name,
            query=GrpcToRest.convert_query(request.query),
            query_filter=GrpcToRest.convert_filter(request.filter) if request.HasField("filter") else None,
            limit=request.limit,
            with_payload=False,
        )
        points = [RestToGrpc.convert_scored_point(point) for point in found.points]
        return grpc.QueryResponse(result=points, time=time.perf_counter() - started)

    async def Count(self, request: Any, context: Any) -> Any:  # noqa: N802
        counted = await self._client.count(request.collection_name, exact=True)
        return grpc.CountResponse(result=RestToGrpc.convert_count_result(counted))

    async def Scroll(self, request: Any, context: Any) -> Any:  # noqa: N802
        records, following = await self._client.scroll(
            request.collection_name,
            limit=request.limit,
            offset=GrpcToRest.convert_point_id(request.offset) if request.HasField("offset") else None,
            with_payload=False,
        )
        ids = [RestToGrpc.convert_extended_point_id(record.id) for record in records]
        page = grpc.ScrollResponse(result=[grpc.RetrievedPoint(id=one) for one in ids])
        if following is not None:
            page.next_page_offset.CopyFrom(RestToGrpc.convert_extended_point_id(following))
        return page


async def serve(port: int) -> None:
    """Serves until the process is ended."""
    client = AsyncQdrantClient(location=":memory:")
    server = transport.aio.server()
    grpc.add_CollectionsServicer_to_server(Collections(client), server)  # type: ignore[no-untyped-call]
    grpc.add_PointsServicer_to_server(Points(client), server)  # type: ignore[no-untyped-call]
    server.add_insecure_port(f"127.0.0.1:{port + 1}")
    await server.start()
    await server.wait_for_termination()


if __name__ == "__main__":
    warnings.filterwarnings("ignore", message="Payload indexes have no effect in the local Qdrant")
    asyncio.run(serve(int(sys.argv[1])))
