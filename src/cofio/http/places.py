"""A bound on the questions, ingests and streams that are under way at once; those beyond it cost next to nothing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Final

from starlette.types import ASGIApp, Receive, Scope, Send

from cofio.errors import Overloaded
from cofio.http.limits import client_of
from cofio.http.problems import problem
from cofio.settings import Settings

# Each stream looks at its operation five times a second.
MAX_STREAMS: Final = 32


def most_of_one(most: int) -> int:
    """How many of `most` places one caller may hold.

    A quarter is kept for others, so that nobody can shut them out by slow bodies or many requests. No more than that:
    whoever is alone, sixteen writers and a hundred readers with one key, is not held back by it.
    """
    return most - most // 4


class Places:
    """The app inside, while it has a place for the request, and for its caller; the others are refused unread, with 503.

    Where one application with one key is all that asks, its own share being full is what overload looks like.
    """

    def __init__(self, app: ASGIApp, *, settings: Settings) -> None:
        self.app = app
        self._most: Mapping[str, int] = {
            "query": settings.max_pending_queries,
            "ingest": settings.max_pending_ingests,
            "events": MAX_STREAMS,
        }
        self._taken = dict.fromkeys(self._most, 0)
        self._held: Counter[tuple[str, str]] = Counter()  # by kind and caller, only of those who hold any

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        kind = _kind(scope["method"], scope["path"]) if scope["type"] == "http" else None
        if kind is None:
            await self.app(scope, receive, send)
            return
        held = kind, client_of(scope)
        refusal = self._refusal(held)
        if refusal is not None:
            response = problem(refusal, path=scope["path"], request_id=scope["request_id"])
            await response(scope, receive, send)
            return
        self._taken[kind] += 1
        self._held[held] += 1
        try:
            await self.app(scope, receive, send)
        finally:
            self._taken[kind] -= 1
            self._held[held] -= 1
            if not self._held[held]:
                del self._held[held]

    def _refusal(self, held: tuple[str, str]) -> Overloaded | None:
        """Why there is no place of this kind for this caller, if there is none."""
        most = self._most[held[0]]
        if self._taken[held[0]] >= most:
            return Overloaded("Too many requests of this kind are under way; try again in a second.")
        if self._held[held] >= most_of_one(most):
            return Overloaded(
                f"{most_of_one(most)} requests of this kind are under way for you, as many as for one caller at once; "
                "try again in a second."
            )
        return None


def _kind(method: str, path: str) -> str | None:
    """Whose places a request takes, if any."""
    if method == "POST":
        return {"/api/v2/query": "query", "/ingest": "ingest"}.get(path)
    is_stream = method == "GET" and path.startswith("/operations/") and path.endswith("/events")
    return "events" if is_stream else None
