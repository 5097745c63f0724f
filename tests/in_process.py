"""The HTTP app within the test's own process, over a runtime that the test has opened."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator

import httpx
from starlette.types import ASGIApp, Receive, Scope, Send

from cofio.http.app import create_app
from cofio.http.cached import CachedQueries
from cofio.runtime import Runtime
from cofio.settings import Settings


@contextlib.asynccontextmanager
async def client(
    chosen: Settings, runtime: Runtime, *, fast: bool = True
) -> AsyncIterator[httpx.AsyncClient]:
    """Asks an app over `runtime`; one that is not `fast` has the normal way only."""
    app = create_app(chosen, runtime)
    if not fast:
        app.user_middleware = [
            each
            for each in app.user_middleware
            if getattr(each.cls, "__name__", "") != CachedQueries.__name__
        ]
    async with app.router.lifespan_context(app) as state:

        async def with_state(scope: Scope, receive: Receive, send: Send) -> None:
            await app({**scope, "state": dict(state or {})}, receive, send)

        inside: ASGIApp = with_state
        async with httpx.AsyncClient(
            transport=httpx.ASGITransport(inside),
            base_url="http://127.0.0.1",
        ) as asked:
            yield asked
