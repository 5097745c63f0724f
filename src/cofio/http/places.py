"""A bound on the questions, ingests and streams that are under way at once; those beyond it cost next to nothing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from starlette.types import ASGIApp, Receive, Scope, Send

from cofio.errors import Overloaded
from cofio.http.problems import problem
from cofio.settings import Settings

# Each stream looks at its operation five times a second.
MAX_STREAMS: Final = 32


class Places:
    """The app inside, while it has a place for the request; the others are refused unread, with 503 and `Retry-After`."""

    def __init__(self, app: ASGIApp, *, settings: Settings) -> None:
        self.app = app
        self._most: Mapping[str, int] = {
            "query": settings.max_pending_queries,
            "ingest": settings.max_pending_ingests,
            "events": MAX_STREAMS,
        }
        self._taken = dict.fromkeys(self._most, 0)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        kind = _kind(scope["method"], scope["path"]) if scope["type"] == "http" else None
        if kind is None:
            await self.app(scope, receive, send)
            return
        if self._taken[kind] >= self._most[kind]:
            response = problem(
                Overloaded("Too many requests of this kind are under way; try again in a second."),
                path=scope["path"],
                request_id=scope["request_id"],
            )
            await response(scope, receive, send)
            return
        self._taken[kind] += 1
        try:
            await self.app(scope, receive, send)
        finally:
            self._taken[kind] -= 1


def _kind(method: str, path: str) -> str | None:
    """Whose places a request takes, if any."""
    if method == "POST":
        return {"/api/v2/query": "query", "/ingest": "ingest"}.get(path)
    is_stream = method == "GET" and path.startswith("/operations/") and path.endswith("/events")
    return "events" if is_stream else None
