"""POST /api/v2/query: a question to the memory."""

from __future__ import annotations

import time
from typing import Annotated, Final

from fastapi import APIRouter, Body, Request, Response
from starlette.background import BackgroundTask
from starlette.routing import BaseRoute

from cofio import query
from cofio.errors import Overloaded
from cofio.http.cached import CACHE_HEADER, CACHE_SECONDS, KnownBodies, content_of, with_time
from cofio.http.problems import (
    BodyTooLarge,
    BodyTooSlow,
    DecompressedTooLarge,
    FieldTooLong,
    InvalidRequest,
    JsonTooDeep,
    MalformedBody,
    RateLimited,
    TooManyItems,
    TooManyJsonValues,
    UnsupportedContentEncoding,
    describe,
)
from cofio.http.projects import within_project
from cofio.http.schemas import QueryRequest
from cofio.http.state import CACHED, OpenRuntime, Sender
from cofio.http.wire import to_json
from cofio.records import Answer
from cofio.search import needs_no_index

QueryBody = Annotated[
    QueryRequest,
    Body(
        openapi_examples={
            "plain": {
                "summary": "A plain question",
                "value": {"query": "Why did we drop the nightly export?"},
            },
            "narrow": {
                "summary": "Only action items of one project, steered towards urgent ones",
                "value": {
                    "query": "What is left to do before the launch?",
                    "limit_per_level": 5,
                    "filters": {"project": "atlas", "memory_type": ["action", "commitment"], "level": "L2"},
                    "steer": {"urgency": 0.2},
                },
            },
        }
    ),
]


PATH: Final = "/api/v2/query"
DEGRADED_HEADER: Final = "X-Cofio-Degraded"


def add_routes(router: APIRouter, known: KnownBodies) -> BaseRoute:
    """`router` serves POST /api/v2/query, and the route is returned.

    Bodies that were validated become `known`, their answers cached.
    """

    async def ask(request: Request, body: QueryBody, runtime: OpenRuntime, sender: Sender) -> Response:
        """The answer to the question, from the cache if it is there."""
        started = time.perf_counter()
        question = within_project(body.question(), sender)
        content_type = request.headers["content-type"].encode("latin-1")
        known.put(sender.project, content_type, await request.body(), question)
        await runtime.follow()
        # Read before the question is asked: an answer that is newer than its version is only lost to the cache.
        version = runtime.live.current.version
        content = runtime.cache.get(question, version)
        shared, sharing = runtime.shared_cache, None
        if content is None and shared is not None:
            content = await shared.get(question, version)
            if content is not None:
                runtime.cache.put(question, version, content)
        headers: dict[str, str] = {}
        if content is not None:
            request.scope[CACHED] = True
            seconds = time.perf_counter() - started
            CACHE_SECONDS.observe(seconds)
            json, way = with_time(content, seconds), "hit"
        else:
            # Else what was just written might be missing in the index, and so in the cached answer, until the next change.
            settled = needs_no_index(runtime.live.current) or not await runtime.outbox.owed()
            answer = await query.recall(runtime, question)
            json, way = to_json(answer), "miss"
            if answer.degraded:
                headers[DEGRADED_HEADER] = ", ".join(part.code for part in answer.missing)
            elif settled:
                content = content_of(json)
                runtime.cache.put(question, version, content)
                # Not what was deleted meanwhile, though nobody would be given it: it would outlive its erasure.
                if shared is not None and not runtime.outdated and version == runtime.live.current.version:
                    sharing = BackgroundTask(shared.put, question, version, content)
        return Response(
            json, media_type="application/json", headers={CACHE_HEADER: way, **headers}, background=sharing
        )

    router.post(
        PATH,
        summary="Ask the memory",
        description=(
            "Direct results of each level, memories that the question woke beyond them (each with the path "
            "from its seed), bridges to other meetings, and the confidence that the memory holds an answer. "
            "Equal questions get equal answers as long as nothing was ingested or deleted. Where the encoder does not "
            "answer, or the vector store and it is needed, the other channels do: the answer is `degraded`, and `missing` says what "
            "it had to do without."
        ),
        tags=["query"],
        response_model=None,
        responses={
            200: {
                "model": Answer,
                "headers": {
                    CACHE_HEADER: {
                        "description": "Was the answer there already.",
                        "schema": {"type": "string", "enum": ["hit", "miss"]},
                    },
                    DEGRADED_HEADER: {
                        "description": "Codes of what a degraded answer had to do without; absent otherwise.",
                        "schema": {"type": "string"},
                    },
                },
            },
            **describe(
                MalformedBody,
                JsonTooDeep,
                BodyTooSlow,
                BodyTooLarge,
                DecompressedTooLarge,
                TooManyJsonValues,
                UnsupportedContentEncoding,
                InvalidRequest,
                FieldTooLong,
                TooManyItems,
                RateLimited,
                Overloaded,
            ),
        },
    )(ask)
    return next(route for route in router.routes if getattr(route, "path", None) == PATH)
