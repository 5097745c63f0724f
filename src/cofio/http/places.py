"""A bound on the questions and the ingests that are under way at once; those beyond it cost next to nothing."""

from __future__ import annotations

from collections.abc import Mapping

from starlette.types import ASGIApp, Receive, Scope, Send

from cofio.errors import Overloaded
from cofio.http.problems import problem
from cofio.settings import Settings


class Places:
    """The app inside, while it has a place for the request; the others are refused unread, with 503 and `Retry-After`."""

    def __init__(self, app: ASGIApp, *, settings: Settings) -> None:
        self.app = app
        self._most: Mapping[str, int] = {
            "/api/v2/query": settings.max_pending_queries,
            "/ingest": settings.max_pending_ingests,
        }
        self._taken = dict.fromkeys(self._most, 0)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = scope["path"] if scope["type"] == "http" and scope["method"] == "POST" else ""
        if path not in self._most:
            await self.app(scope, receive, send)
            return
        if self._taken[path] >= self._most[path]:
            response = problem(
                Overloaded("Too many requests of this kind are under way; try again in a second."),
                path=path,
                request_id=scope["request_id"],
            )
            await response(scope, receive, send)
            return
        self._taken[path] += 1
        try:
            await self.app(scope, receive, send)
        finally:
            self._taken[path] -= 1
