"""Requests on the wire: uvicorn's protocol, with bounds on how long a head may be and how slowly an answer is read."""

from __future__ import annotations

import asyncio
from typing import Any, ClassVar, Final

import orjson
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from cofio.http.middleware import SLOWEST_BYTES_PER_S
from cofio.http.problems import MEDIA_TYPE, HeadTooLarge, mapped

# Address and headers of a request. Proxies take 8 to 32 KiB.
MAX_HEAD_BYTES: Final = 64 * 1024
LINGER_S: Final = 1.0

_BODY: Final = orjson.dumps(
    {
        "type": f"urn:cofio:problem:{HeadTooLarge.code}",
        "title": HeadTooLarge.title(),
        "status": mapped(HeadTooLarge).status,
        "detail": f"Address and headers have more than {MAX_HEAD_BYTES} bytes. Send what is long in the body.",
        "code": HeadTooLarge.code,
    }
)
_REFUSAL: Final = (
    b"HTTP/1.1 %d Request Header Fields Too Large\r\ncontent-type: %b\r\ncontent-length: %d\r\nconnection: close\r\n\r\n%b"
    % (mapped(HeadTooLarge).status, MEDIA_TYPE.encode(), len(_BODY), _BODY)
)


class BoundedConnection(HttpToolsProtocol):
    """A connection that is closed, after a problem was told, where a request's head goes beyond `MAX_HEAD_BYTES`.

    What the parser tells of is counted. It tells of a header, or of a trailer after a body, once it is complete, so what
    came in since it last told of anything is counted too: one piece more than the bound may be held, and no more.
    A connection whose client reads an answer slower than `SLOWEST_BYTES_PER_S` for `unread_s` is cut off: a stream would
    hold its place, and an export its copy of the database, for as long as the client likes.
    """

    unread_s: ClassVar[float] = 30.0  # nginx.conf has the same as `send_timeout`

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._head_bytes = 0
        self._untold_bytes = 0
        self._refused = False
        self._impatience: asyncio.TimerHandle | None = None

    def pause_writing(self) -> None:
        """More of an answer waits to be read than is kept in memory: from now on the client's time runs."""
        super().pause_writing()
        self._give_time()

    def resume_writing(self) -> None:
        """What waited has been read."""
        super().resume_writing()
        self._end_time()

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is closed, and nobody waits for its client any more."""
        self._end_time()
        super().connection_lost(exc)

    def _give_time(self) -> None:
        unread = self.transport.get_write_buffer_size()
        self._impatience = self.loop.call_later(self.unread_s, self._look_again, unread)

    def _end_time(self) -> None:
        if self._impatience is not None:
            self._impatience.cancel()
            self._impatience = None

    def _look_again(self, unread: int) -> None:
        if unread - self.transport.get_write_buffer_size() < SLOWEST_BYTES_PER_S * self.unread_s:
            self.transport.abort()  # closed gently, it would wait for the client to read the rest
        else:
            self._give_time()

    def on_message_begin(self) -> None:
        """A request begins, and with it its head."""
        self._head_bytes = 0
        super().on_message_begin()

    def on_url(self, url: bytes) -> None:
        """A piece of the address is kept; raises HeadTooLarge, which ends the parsing, beyond the bound."""
        self._count(len(url))
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        """A header, or a trailer, is kept; raises HeadTooLarge, which ends the parsing, beyond the bound."""
        self._count(len(name) + len(value) + len(": \r\n"))
        super().on_header(name, value)

    def on_body(self, body: bytes) -> None:
        """A piece of the body is handed on; bodies have bounds of their own."""
        self._untold_bytes = 0
        super().on_body(body)

    def data_received(self, data: bytes) -> None:
        """The next piece of the connection is parsed, unless the head has become too long."""
        if self._refused:
            return
        self._untold_bytes += len(data)
        super().data_received(data)
        if self._untold_bytes > MAX_HEAD_BYTES and not self._refused and not self.transport.is_closing():
            self._refuse()

    def send_400_response(self, msg: str) -> None:
        """Parsing ended with an error, and the sender is told which: that of a head too long, or `msg`."""
        if self._head_bytes > MAX_HEAD_BYTES:
            self._refuse()
        else:
            super().send_400_response(msg)

    def _count(self, more: int) -> None:
        self._head_bytes += more
        self._untold_bytes = 0
        if self._head_bytes > MAX_HEAD_BYTES:
            raise HeadTooLarge

    def _refuse(self) -> None:
        self._refused = True
        self.transport.write(_REFUSAL)
        # Closed at once, with bytes still coming in, the system would take the refusal back. Not even the writing is ended:
        # an earlier request of this connection may still be worked on, and its answer would break on that.
        self.loop.call_later(LINGER_S, self.transport.close)
