"""The HTTP application: routes, problems, limits and the life of the runtime around them."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import AsyncIterator
from functools import partial
from typing import Any, Final

from fastapi import APIRouter, FastAPI
from pydantic.json_schema import models_json_schema
from starlette.middleware.cors import CORSMiddleware
from starlette.routing import Route
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

import cofio
from cofio import batches, figures
from cofio.access.gate import Gate, open_gate
from cofio.background import Begin, going_on
from cofio.http import admin, health, ingest, meetings, memories, operations, problems, query
from cofio.http.bodies import DecodedBody, SmallJson
from cofio.http.cached import CachedQueries, KnownBodies
from cofio.http.guard import KEY_HEADER, Guard, describe_access
from cofio.http.headers import SecurityHeaders
from cofio.http.limits import RateLimits
from cofio.http.middleware import LARGE_BODIES, LimitedBody, Observed, TimelyBody, largest_body
from cofio.http.places import Places
from cofio.http.schemas import BatchRequest, MeetingRequest
from cofio.http.state import State
from cofio.http.templates import Templates
from cofio.http.zeros import begin_at_zero
from cofio.runtime import Runtime, open_runtime
from cofio.settings import Settings
from cofio.telemetry.lag import sample_loop_lag
from cofio.telemetry.traces import traced

_DESCRIPTION: Final = (
    "Meeting transcripts in, memories out: episodes, contexts and concepts that answer and associate. "
    "Errors are problems as RFC 9457 writes them, each with a stable `code`."
)


def create_app(settings: Settings, runtime: Runtime | None = None, gate: Gate | None = None) -> FastAPI:
    """An app whose lifespan opens the runtime and closes it.

    Whoever has opened the runtime already hands it in, and closes it; the gate is that of the settings unless one is
    given. Raises InvalidSettings for settings under which nobody should be served.
    """
    gate = gate or open_gate(settings)

    @contextlib.asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[State]:
        async with contextlib.AsyncExitStack() as stack:
            await stack.enter_async_context(traced(settings))
            opened = runtime if runtime else await stack.enter_async_context(open_runtime(settings))
            endless: dict[str, Begin] = {
                "loop-lag": sample_loop_lag,
                "batches": partial(batches.work, opened),
                "disk": opened.disk.keep_measured,
                "keys": gate.keys.keep_fresh,
            }
            if settings.workers > 1:
                endless["figures"] = partial(figures.keep_published, opened)
            for name, begin in endless.items():
                await stack.enter_async_context(going_on(name, begin))
            yield {"runtime": opened}

    app = FastAPI(
        title="cofio",
        version=cofio.__version__,
        description=_DESCRIPTION,
        lifespan=lifespan,
        # A redirect would lead to whatever host the request names.
        redirect_slashes=False,
    )

    root = APIRouter()
    known = KnownBodies()
    route = query.add_routes(root, known)
    routers = (
        ingest.router,
        operations.router,
        memories.router,
        meetings.router,
        admin.router,
        health.router,
    )
    # The app itself has those of the documentation.
    routes = [each for origin in (app, root, *routers) for each in origin.routes if isinstance(each, Route)]
    templates = Templates(routes)
    problems.install(app, templates)
    begin_at_zero(routes)
    for router in (root, *routers):
        app.include_router(router)
    _complete_openapi(app, gate)

    # The last one added is the outermost. So a request has its address, then its id, its caller and its rate before
    # anything is looked up or read for it.
    limit_of = partial(largest_body, max_body_bytes=settings.max_body_bytes)
    app.add_middleware(SmallJson, max_depth=settings.max_json_depth, but=LARGE_BODIES)
    app.add_middleware(DecodedBody, limit_of=limit_of)
    app.add_middleware(LimitedBody, limit_of=limit_of)
    app.add_middleware(Places, settings=settings)
    app.add_middleware(CachedQueries, route=route, path=query.PATH, known=known)
    app.add_middleware(TimelyBody, most_s=settings.body_timeout_s)
    app.add_middleware(RateLimits, settings=settings)
    app.add_middleware(Guard, gate=gate, settings=settings, templates=templates)
    if settings.cors_origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=settings.cors_origins,
            allow_methods=["GET", "POST", "DELETE"],
            allow_headers=["Authorization", "Content-Type", KEY_HEADER, "X-Request-ID"],
            expose_headers=["Retry-After", "X-Request-ID", "X-RateLimit-Remaining", "X-RateLimit-Reset"],
        )
    app.add_middleware(SecurityHeaders)
    app.add_middleware(Observed, templates=templates)
    if settings.trusted_proxies:
        app.add_middleware(ProxyHeadersMiddleware, trusted_hosts=list(settings.trusted_proxies))
    return app


def _complete_openapi(app: FastAPI, gate: Gate) -> None:
    """The document holds the schemas that only routes with a body of their own refer to, and who may call what.

    While nobody needs a key, it names none.
    """
    _, requests = models_json_schema(
        [(MeetingRequest, "validation"), (BatchRequest, "validation")],
        ref_template="#/components/schemas/{model}",
    )
    document = app.openapi()
    schemas: dict[str, Any] = document.setdefault("components", {}).setdefault("schemas", {})
    schemas |= requests["$defs"]
    schemas |= problems.schemas()
    guarded = copy.deepcopy(document)
    describe_access(guarded)
    app.openapi = lambda: guarded if gate.closed else document  # type: ignore[method-assign]
