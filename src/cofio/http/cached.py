"""Cached answers to POST /api/v2/query, given before routing and validation.

A body that was validated once means the same question ever after, so its bytes lead to the question, and the
question to the answer. All else goes the normal way, which is also where bodies and answers come to be known.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Final

from cachetools import LRUCache
from starlette.routing import BaseRoute
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from cofio.access.callers import Caller
from cofio.http.state import CACHED, CALLER
from cofio.records import Question
from cofio.runtime import Runtime
from cofio.telemetry.metrics import QUERY_STAGE_SECONDS

CACHE_HEADER: Final = "X-Cofio-Cache"
MAX_KNOWN_BODY_BYTES: Final = 8 * 1024  # a plain question has some hundreds
MAX_KNOWN_BYTES: Final = (
    4 * 1024 * 1024
)  # some 2,500 plain questions: as many as there are answers in the cache
_QUESTION_BYTES: Final = 1024  # what a question takes beside its body, roughly

_CONTENT_TYPE: Final = b"content-type"
_CONTENT_LENGTH: Final = b"content-length"
_CONTENT_ENCODING: Final = b"content-encoding"  # such a body is not yet what it means
_HIT_HEADER: Final = (CACHE_HEADER.lower().encode(), b"hit")
_JSON_HEADER: Final = (_CONTENT_TYPE, b"application/json")
_TIMES: Final = b',"processing_time_ms":'
CACHE_SECONDS: Final = QUERY_STAGE_SECONDS.labels("cache")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Known:
    question: Question
    size: int


_Key = tuple[str | None, bytes, bytes]


class KnownBodies:
    """Bodies of requests that were validated, each with the question that it means; at most 4 MiB of them.

    What a body means depends on its bytes, its content type and the project that its sender is bound to, never on the
    memory: nothing gets stale.
    """

    def __init__(self) -> None:
        self._known: LRUCache[_Key, _Known] = LRUCache(MAX_KNOWN_BYTES, getsizeof=lambda known: known.size)

    def get(self, project: str | None, content_type: bytes, body: bytes) -> Question | None:
        """The question that this body means from a sender bound to `project`, if it was validated before."""
        known = self._known.get((project, content_type, body))
        return known.question if known else None

    def put(self, project: str | None, content_type: bytes, body: bytes, question: Question) -> None:
        """The body, which was validated to mean `question`, is known, unless it is longer than 8 KiB."""
        if len(body) <= MAX_KNOWN_BODY_BYTES:
            size = _QUESTION_BYTES + 4 * (len(content_type) + len(body))
            self._known[project, content_type, body] = _Known(question=question, size=size)


def content_of(answer: bytes) -> bytes:
    """The JSON of an `Answer` without its last two fields, the times, and without the closing brace."""
    return answer.rpartition(_TIMES)[0]


def with_time(content: bytes, seconds: float) -> bytes:
    """The JSON of an answer whose `content` was cached: its only stage, `cache`, took these seconds."""
    return b'%b%b%.3f,"stages_ms":{"cache":%.3f}}' % (content, _TIMES, seconds * 1000, seconds * 1000)


class CachedQueries:
    """The app inside, with questions to `route` answered at once where body and answer are known.

    Its caller is known and within its rate already. A request that is in any way unusual goes to the app inside,
    which answers as if this were not here.
    """

    def __init__(self, app: ASGIApp, *, route: BaseRoute, path: str, known: KnownBodies) -> None:
        self.app = app
        self._route = route
        self._path = path
        self._known = known

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] != self._path or scope["method"] != "POST":
            await self.app(scope, receive, send)
            return
        started = time.perf_counter()
        # The first of each, as the route reads them.
        content_type = length = None
        for name, value in scope["headers"]:
            if name == _CONTENT_TYPE and content_type is None:
                content_type = value
            elif name == _CONTENT_LENGTH and length is None:
                length = value
            elif name == _CONTENT_ENCODING:
                content_type = length = None
                break
        # A body without a length may be endless, and one that is too large must be refused before it is read.
        if (
            content_type is None
            or length is None
            or not (length.isdigit() and int(length) <= MAX_KNOWN_BODY_BYTES)
        ):
            await self.app(scope, receive, send)
            return
        message = await receive()
        content = None
        if message["type"] == "http.request" and not message.get("more_body", False):
            caller: Caller = scope[CALLER]
            question = self._known.get(caller.project, content_type, message.get("body", b""))
            if question is not None:
                runtime: Runtime = scope["state"]["runtime"]
                if not runtime.outdated:
                    content = runtime.cache.get_if_there(question, runtime.live.current.version)
        if content is None:
            await self.app(scope, _after(message, receive), send)
            return
        scope[CACHED] = True
        scope["route"] = self._route  # what the metrics and the log name the request by
        seconds = time.perf_counter() - started
        CACHE_SECONDS.observe(seconds)
        body = with_time(content, seconds)
        headers = [(_CONTENT_LENGTH, b"%d" % len(body)), _JSON_HEADER, _HIT_HEADER]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})


def _after(message: Message, receive: Receive) -> Receive:
    """What `receive` gave already, then what it gives."""
    waiting = [message]

    async def receive_again() -> Message:
        return waiting.pop() if waiting else await receive()

    return receive_again
