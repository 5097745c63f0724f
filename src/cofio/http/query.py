"""POST /api/v2/query: a question to the memory."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

from fastapi import APIRouter, Body, Request, Response

from cofio import query
from cofio.errors import EncoderUnavailable, Overloaded, VectorStoreUnavailable
from cofio.http.problems import BodyTooLarge, InvalidRequest, MalformedBody, RateLimited, describe
from cofio.http.schemas import QueryRequest
from cofio.http.state import OpenRuntime
from cofio.http.wire import answer
from cofio.records import Answer

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


def add_routes(router: APIRouter, limit: Callable[[Callable[..., Any]], Callable[..., Any]]) -> None:
    """`router` serves POST /api/v2/query, its rate held by `limit`."""
    router.post(
        "/api/v2/query",
        summary="Ask the memory",
        description=(
            "Direct results of each level, memories that the question woke beyond them (each with the path "
            "from its seed), bridges to other meetings, and the confidence that the memory holds an answer. "
            "Equal questions get equal answers as long as nothing was ingested or deleted."
        ),
        tags=["query"],
        response_model=None,
        responses={
            200: {"model": Answer},
            **describe(
                MalformedBody,
                BodyTooLarge,
                InvalidRequest,
                RateLimited,
                Overloaded,
                EncoderUnavailable,
                VectorStoreUnavailable,
            ),
        },
    )(limit(ask))


async def ask(request: Request, body: QueryBody, runtime: OpenRuntime) -> Response:
    """The answer to the question. `request` is read by the rate limit."""
    return answer(await query.recall(runtime, body.question()))
