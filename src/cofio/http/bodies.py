"""Request bodies before anything parses them: decompressed within bounds, and refused where their JSON is outsized."""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import Callable
from typing import Final

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from cofio.http.json_shape import bound_of, shape_of
from cofio.http.problems import (
    DecompressedTooLarge,
    JsonTooDeep,
    MalformedBody,
    TooManyJsonValues,
    UnsupportedContentEncoding,
    problem,
)

# A body that is no ingest holds a question or a command: a filter of every kind has some hundreds of values.
SMALL_JSON_VALUES: Final = 2_000

_PLAIN: Final = frozenset({"", "identity"})
# zlib tells by itself which of the two it is given.
_ZLIB: Final = frozenset({"gzip", "x-gzip", "deflate"})
_EITHER: Final = zlib.MAX_WBITS | 32


class DecodedBody:
    """The app inside, given bodies sent with `Content-Encoding: gzip` or `deflate` as they were before compression.

    `limit_of` tells how large the body of a path may become. Other encodings are refused before the body is read.
    """

    def __init__(self, app: ASGIApp, limit_of: Callable[[str], int]) -> None:
        self.app = app
        self._limit_of = limit_of

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = Headers(scope=scope) if scope["type"] == "http" else None
        encoding = headers.get("content-encoding", "").strip().lower() if headers is not None else ""
        if encoding in _PLAIN or not _has_body(headers):
            await self.app(scope, receive, send)
        elif encoding in _ZLIB:
            # Inside, the body is what it was; whatever these headers said of it is no longer true.
            kept = [
                each for each in scope["headers"] if each[0] not in (b"content-encoding", b"content-length")
            ]
            decoded = _decoded(receive, self._limit_of(scope["path"]))
            await self.app({**scope, "headers": kept}, decoded, send)
        else:
            refusal = UnsupportedContentEncoding(
                "This Content-Encoding is not understood. Send the body as it is, or with gzip or deflate."
            )
            response = problem(
                refusal, path=scope["path"], request_id=scope["request_id"], headers={"Connection": "close"}
            )
            await response(scope, receive, send)


class SmallJson:
    """The app inside, given bodies of at most `SMALL_JSON_VALUES` values, nested at most `max_depth` deep.

    Bodies of the `but` paths are not looked at: there the route does it, beside the event loop.
    """

    def __init__(self, app: ASGIApp, max_depth: int, but: frozenset[str]) -> None:
        self.app = app
        self._max_depth = max_depth
        self._but = but

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] in self._but:
            await self.app(scope, receive, send)
            return
        parts: list[bytes] = []

        async def receive_checked() -> Message:
            message = await receive()
            parts.append(message.get("body", b""))
            if not message.get("more_body", False):
                body = b"".join(parts)
                check_json(body, max_depth=self._max_depth, max_values=SMALL_JSON_VALUES)
            return message

        await self.app(scope, receive_checked, send)


def check_json(body: bytes, *, max_depth: int, max_values: int, field: str | None = None) -> None:
    """Raises `JsonTooDeep` or `TooManyJsonValues`, naming `field`, for a JSON text that no parser should be given."""
    shape = bound_of(body)
    if shape.depth <= max_depth and shape.values <= max_values:
        return
    shape = shape_of(body)
    if shape.depth > max_depth:
        raise JsonTooDeep(
            f"The JSON has {shape.depth} objects and lists inside one another; at most {max_depth} are taken.",
            field=field,
        )
    if shape.values > max_values:
        raise TooManyJsonValues(
            f"The JSON has {shape.values} values; at most {max_values} are taken. Send several requests.",
            field=field,
        )


def _has_body(headers: Headers | None) -> bool:
    return headers is not None and ("content-length" in headers or "transfer-encoding" in headers)


def _decoded(receive: Receive, limit: int) -> Receive:
    """What `receive` gives, decompressed piece by piece and never to more than `limit` bytes."""
    decoder = zlib.decompressobj(_EITHER)
    total = 0

    async def receive_decoded() -> Message:
        nonlocal total
        message = await receive()
        if message["type"] != "http.request":
            return message
        body = message.get("body", b"")
        arguments = (decoder, body, limit - total)
        inflated = await asyncio.to_thread(_inflate, *arguments) if len(body) > 1024 else _inflate(*arguments)
        total += len(inflated)
        if not message.get("more_body", False) and not decoder.eof:
            raise MalformedBody("The compressed body is not complete. Send all of it.")
        return {**message, "body": inflated}

    return receive_decoded


def _inflate(decoder: zlib._Decompress, body: bytes, room: int) -> bytes:
    try:
        inflated = decoder.decompress(body, room + 1)
    except zlib.error as error:
        raise MalformedBody(
            "The body is not compressed as its Content-Encoding says. Compress it so, or leave the header out."
        ) from error
    if len(inflated) > room:
        raise DecompressedTooLarge(
            "The body is too large once it is decompressed. Send less, or in several requests."
        )
    if decoder.unused_data:
        raise MalformedBody("Something follows the end of the compressed body. Send one stream alone.")
    return inflated
