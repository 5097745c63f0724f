"""The HTTP application: routes, problems, limits and the life of the runtime around them."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from functools import partial
from typing import Any, Final

from fastapi import APIRouter, FastAPI
from pydantic.json_schema import models_json_schema

import cofio
from cofio import batches
from cofio.http import admin, health, ingest, meetings, memories, operations, problems, query
from cofio.http.bodies import DecodedBody, SmallJson
from cofio.http.cached import CachedQueries, KnownBodies
from cofio.http.limits import admission, limited, open_limiter
from cofio.http.middleware import LARGE_BODIES, LimitedBody, Observed, largest_body
from cofio.http.schemas import BatchRequest, MeetingRequest
from cofio.http.state import State
from cofio.runtime import Runtime, open_runtime
from cofio.settings import Settings
from cofio.telemetry import sample_loop_lag

_DESCRIPTION: Final = (
    "Meeting transcripts in, memories out: episodes, contexts and concepts that answer and associate. "
    "Errors are problems as RFC 9457 writes them, each with a stable `code`."
)


def create_app(settings: Settings, runtime: Runtime | None = None) -> FastAPI:
    """An app whose lifespan opens the runtime and closes it.

    A caller that has opened the runtime already hands it in, and closes it itself.
    """

    @contextlib.asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[State]:
        async with contextlib.AsyncExitStack() as stack:
            opened = runtime if runtime else await stack.enter_async_context(open_runtime(settings))
            stack.push_async_callback(_stop, asyncio.create_task(sample_loop_lag(), name="loop-lag"))
            stack.push_async_callback(_stop, asyncio.create_task(batches.work(opened), name="batches"))
            yield {"runtime": opened}

    app = FastAPI(title="cofio", version=cofio.__version__, description=_DESCRIPTION, lifespan=lifespan)
    limiter = open_limiter()
    app.state.limiter = limiter  # where slowapi looks for it
    problems.install(app)

    root = APIRouter()
    ingest.add_routes(root, partial(limited, limiter, settings.ingest_rate))
    known = KnownBodies()
    route = query.add_routes(root, partial(limited, limiter, settings.query_rate), known)
    for router in (root, operations.router, memories.router, meetings.router, admin.router, health.router):
        app.include_router(router)

    # The last one added is the outermost: the id exists before anything can be refused.
    limit_of = partial(largest_body, max_body_bytes=settings.max_body_bytes)
    app.add_middleware(SmallJson, max_depth=settings.max_json_depth, but=LARGE_BODIES)
    app.add_middleware(DecodedBody, limit_of=limit_of)
    app.add_middleware(LimitedBody, limit_of=limit_of)
    app.add_middleware(
        CachedQueries,
        route=route,
        path=query.PATH,
        known=known,
        admit=admission(limiter, settings.query_rate),
    )
    app.add_middleware(Observed)
    _complete_openapi(app)
    return app


async def _stop(task: asyncio.Task[None]) -> None:
    """The background task has ended; an error that ended it before is raised."""
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task


def _complete_openapi(app: FastAPI) -> None:
    """The document holds the schemas that only routes with a body of their own refer to."""
    _, requests = models_json_schema(
        [(MeetingRequest, "validation"), (BatchRequest, "validation")],
        ref_template="#/components/schemas/{model}",
    )
    schemas: dict[str, Any] = app.openapi().setdefault("components", {}).setdefault("schemas", {})
    schemas |= requests["$defs"]
    schemas |= problems.schemas()
