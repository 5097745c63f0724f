"""What surrounds every request, as plain ASGI: its id, metrics, log line and the limits of its body."""

from __future__ import annotations

import asyncio
import re
import time
import uuid
from collections.abc import Callable
from typing import Final

import structlog
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from cofio.http.problems import BodyTooLarge, BodyTooSlow, ClientGone, problem
from cofio.http.state import CACHED
from cofio.http.templates import UNMATCHED, Templates
from cofio.telemetry import traces
from cofio.telemetry.metrics import ACTIVE_REQUESTS
from cofio.telemetry.requests import request_answered

# Only ingest takes large bodies; a query of a thousand characters fits in a small one.
LARGE_BODIES: Final = frozenset({"/ingest"})
SMALL_BODY_BYTES: Final = 1024 * 1024
# A quarter of a megabit a second: a line of one megabit still carries three uploads at once. The largest body has
# 35 minutes.
SLOWEST_BYTES_PER_S: Final = 32 * 1024

# A client may bring its own id, if it is one that is safe to write into a log line and a header.
_REQUEST_ID: Final = re.compile(r"[A-Za-z0-9._:-]{1,128}")
_BODILESS: Final = frozenset({"GET", "HEAD"})
_METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


def largest_body(path: str, max_body_bytes: int) -> int:
    """How many bytes a request to `path` may have."""
    return max_body_bytes if path in LARGE_BODIES else min(max_body_bytes, SMALL_BODY_BYTES)


class Observed:
    """The app inside, with a request id in and out, counted, timed, logged and traced.

    Logged are method, route, status and time; never a query string, a body or a header.
    """

    def __init__(self, app: ASGIApp, *, templates: Templates) -> None:
        self.app = app
        self._templates = templates

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        given = next((value for name, value in scope["headers"] if name == b"x-request-id"), b"").decode(
            "latin-1"
        )
        request_id = given if _REQUEST_ID.fullmatch(given) else uuid.uuid4().hex
        scope["request_id"] = request_id
        structlog.contextvars.bind_contextvars(request_id=request_id)
        status = 500  # what the server answers if nothing is sent from inside

        async def send_with_id(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                MutableHeaders(scope=message)["X-Request-ID"] = request_id
            await send(message)

        started = time.perf_counter()
        ACTIVE_REQUESTS.inc()
        with traces.request(scope["headers"]):
            try:
                await self.app(scope, receive, send_with_id)
            finally:
                ACTIVE_REQUESTS.dec()
                route = scope.get("route")
                request_answered(
                    method=scope["method"] if scope["method"] in _METHODS else "OTHER",
                    endpoint=route.path if route else self._templates.of(scope["path"]) or UNMATCHED,
                    routed=route is not None,
                    status=status,
                    seconds=time.perf_counter() - started,
                    request_id=request_id,
                    cached=CACHED in scope,
                )


class TimelyBody:
    """The app inside, with a body that stalls refused with 408, so that what is held for its request is free again.

    It may keep the app waiting for `most_s` seconds: between two pieces, and in all, where what came in at
    `SLOWEST_BYTES_PER_S` took no time. A client that hangs up before its body is complete has 499 in log and metrics:
    that is no error of the service.
    """

    def __init__(self, app: ASGIApp, most_s: float) -> None:
        self.app = app
        self._most_s = most_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        # No route reads the body of a GET; its stream only looks whether the client is still there.
        if scope["type"] != "http" or scope["method"] in _BODILESS:
            await self.app(scope, receive, send)
            return
        received, waited_s, complete = 0, 0.0, False

        async def receive_in_time() -> Message:
            nonlocal received, waited_s, complete
            if complete:
                return await receive()
            # Only waiting counts: what the app does between two pieces is not the client's time.
            left_s = self._most_s + received / SLOWEST_BYTES_PER_S - waited_s
            began = time.monotonic()
            try:
                async with asyncio.timeout(min(self._most_s, left_s)):
                    message = await receive()
            except TimeoutError:
                raise BodyTooSlow(
                    f"Only {received} bytes of the body came in. Leave no {self._most_s:g} s between two pieces of it, "
                    f"and send at least {SLOWEST_BYTES_PER_S} bytes a second."
                ) from None
            waited_s += time.monotonic() - began
            if message["type"] != "http.request":
                raise ClientGone
            received += len(message.get("body", b""))
            complete = not message.get("more_body", False)
            return message

        try:
            await self.app(scope, receive_in_time, send)
        except (BodyTooSlow, ClientGone) as refusal:
            # A route answers it itself. This one was raised outside them: the cache of queries reads the first piece.
            response = problem(refusal, path=scope["path"], request_id=scope["request_id"])
            await response(scope, receive, send)


class LimitedBody:
    """The app inside, with larger bodies refused before anything parses them.

    FastAPI has a limit of its own, but it answers in plain text, not as a problem.
    """

    def __init__(self, app: ASGIApp, limit_of: Callable[[str], int]) -> None:
        self.app = app
        self._limit_of = limit_of

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        limit = self._limit_of(scope["path"])
        refusal = BodyTooLarge(f"The body is larger than {limit} bytes. Send less, or in several requests.")
        declared = Headers(scope=scope).get("content-length", "")
        if declared.isdecimal() and int(declared) > limit:
            # The client is still sending: what is left of the body cannot be told from a next request.
            response = problem(
                refusal, path=scope["path"], request_id=scope["request_id"], headers={"Connection": "close"}
            )
            await response(scope, receive, send)
            return
        received = 0

        async def receive_limited() -> Message:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            if received > limit:
                raise refusal
            return message

        await self.app(scope, receive_limited, send)
