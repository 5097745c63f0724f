"""Requests on the wire: uvicorn's protocol, whose parser takes a head of any length, with a bound on it."""

from __future__ import annotations

from typing import Any, Final

import orjson
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

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


class BoundedHead(HttpToolsProtocol):
    """A connection that is closed, after a problem was told, where a request's head goes beyond `MAX_HEAD_BYTES`.

    What has come in is counted piece by piece, so that one piece more than the bound may be held, and no more.
    """

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._head_bytes = 0
        self._in_head = True
        self._refused = False

    def on_message_begin(self) -> None:
        """A request begins, and with it its head."""
        self._in_head, self._head_bytes = True, 0
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """The head is complete; what follows has bounds of its own."""
        self._in_head = False
        super().on_headers_complete()

    def data_received(self, data: bytes) -> None:
        """The next piece of the connection is parsed, unless the head has become too long."""
        if self._refused:
            return
        super().data_received(data)
        if self._in_head and not self.transport.is_closing():
            self._head_bytes += len(data)
            if self._head_bytes > MAX_HEAD_BYTES:
                self._refused = True
                self.transport.write(_REFUSAL)
                self.transport.write_eof()
                # Closed at once, with bytes still coming in, the system would take the refusal back.
                self.loop.call_later(LINGER_S, self.transport.close)
